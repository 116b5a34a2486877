// The table of message lengths against the published distributions as data (testdata/homa-workloads.json says whence they are).
#include "homa/simulation/workload_points.h"

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include <fstream>
#include <iterator>
#include <string>

namespace godwit::homa::simulation {
namespace {

namespace json = boost::json;

TEST(HomaWorkloadPoints, AreThePublishedOnesPointForPoint) {
  std::ifstream file(GODWIT_TESTDATA "/homa-workloads.json", std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  ASSERT_FALSE(text.empty());
  const json::value published = json::parse(text);
  for (int workload = 1; workload <= 5; ++workload) {
    SCOPED_TRACE(testing::Message() << "W" << workload);
    const json::object& expected = published.at("workloads").at("w" + std::to_string(workload)).as_object();
    const json::array& cdf = expected.at("cdf").as_array();
    const std::span<const WorkloadPoint> points = workload_points(workload);
    ASSERT_EQ(points.size(), cdf.size());
    ASSERT_EQ(points.size(), expected.at("points").to_number<std::size_t>());
    for (std::size_t i = 0; i < points.size(); ++i) {
      EXPECT_EQ(points[i].length, cdf[i].at(0).to_number<std::uint32_t>()) << "point " << i;
      EXPECT_DOUBLE_EQ(points[i].fraction, cdf[i].at(1).to_number<double>()) << "point " << i;
    }
  }
  EXPECT_TRUE(workload_points(0).empty());
  EXPECT_TRUE(workload_points(6).empty());
}

}  // namespace
}  // namespace godwit::homa::simulation
