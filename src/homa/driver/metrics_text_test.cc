#include "homa/driver/metrics_text.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <set>
#include <sstream>

namespace godwit::homa {

namespace {

std::unique_ptr<Driver> open_driver() {
  DriverOptions options;
  options.udp.bind = ipv4_address(0x7f000001, 0);
  options.seed = 1;
  Result<std::unique_ptr<Driver>> driver = Driver::open(options);
  if (!driver) {
    ADD_FAILURE() << driver.error().message();
    std::abort();
  }
  return std::move(*driver);
}

// The name of a sample's family: without labels, and without the endings of a histogram's samples.
std::string family_of(const std::string& sample, const std::set<std::string>& histograms) {
  const std::string name = sample.substr(0, sample.find_first_of("{ "));
  for (const std::string_view ending : {"_bucket", "_sum", "_count"})
    if (name.ends_with(ending) && histograms.contains(name.substr(0, name.size() - ending.size())))
      return name.substr(0, name.size() - ending.size());
  return name;
}

// Gives every counter of a struct that holds nothing else a number of its own, from `first` on; how many there are.
template <class Counters>
std::size_t number_all(const Counters& counters, std::uint64_t first) {
  static_assert(std::is_trivially_copyable_v<Counters> && sizeof(Counters) % sizeof(std::uint64_t) == 0);
  std::array<std::uint64_t, sizeof(Counters) / sizeof(std::uint64_t)> numbers;
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = first + i;
  const_cast<Counters&>(counters) = std::bit_cast<Counters>(numbers);  // the object itself is not const
  return numbers.size();
}

}  // namespace

TEST(MetricsText, TellsWhatWasCounted) {
  const std::unique_ptr<Driver> driver = open_driver();
  LatencyHistogram calls;
  calls.record(Duration::microseconds(20));
  const std::string text = metrics_text(*driver, calls);
  for (const char* line :
       {"# TYPE godwit_homa_calls_started_total counter\ngodwit_homa_calls_started_total 0\n",
        "godwit_homa_packets_sent_total{type=\"NEED_ACK\"} 0\n", "godwit_homa_call_seconds_bucket{le=\"+Inf\"} 1\n",
        "godwit_homa_call_seconds_bucket{le=\"1.6e-05\"} 0\n", "godwit_homa_call_seconds_count 1\n",
        "godwit_homa_sent_bytes_total{priority=\"7\"} 0\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

TEST(MetricsText, EveryFamilyHasHelpAndTypeOnceAndThenItsSamples) {
  const std::unique_ptr<Driver> driver = open_driver();
  std::istringstream text(metrics_text(*driver, {}));
  std::set<std::string> families, histograms, samples;
  std::string line, helped, current;
  bool has_sample = true;
  while (std::getline(text, line)) {
    SCOPED_TRACE(line);
    std::istringstream words(line);
    std::string mark, kind, name, type;
    words >> mark >> kind >> name >> type;
    if (mark != "#") {
      EXPECT_EQ(family_of(line, histograms), current);
      EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << "twice";
      has_sample = true;
    } else if (kind == "HELP") {
      EXPECT_TRUE(has_sample) << "the family before has none";
      EXPECT_TRUE(families.insert(name).second) << "twice";
      EXPECT_TRUE(name.starts_with("godwit_homa_"));
      EXPECT_FALSE(type.empty()) << "it says nothing";
      helped = name;
    } else {
      ASSERT_EQ(kind, "TYPE");
      EXPECT_EQ(name, helped) << "HELP comes first";
      EXPECT_NE(name, current) << "twice";
      EXPECT_TRUE(type == "counter" || type == "gauge" || type == "histogram");
      EXPECT_EQ(type == "counter", name.ends_with("_total"));
      if (type == "histogram") histograms.insert(name);
      current = name;
      has_sample = false;
    }
  }
  EXPECT_TRUE(has_sample);
  EXPECT_GT(families.size(), 30U);
}

TEST(MetricsText, EveryCounterAppearsOnce) {
  const std::unique_ptr<Driver> driver = open_driver();
  constexpr std::uint64_t kEndpoint = 1'000'000, kSocket = 2'000'000;
  const std::size_t of_endpoint = number_all(driver->endpoint().counters(), kEndpoint);
  const std::size_t of_socket = number_all(driver->socket().counters(), kSocket);
  std::istringstream text(metrics_text(*driver, {}));
  std::multiset<std::string> values;
  for (std::string line; std::getline(text, line);) values.insert(line.substr(line.rfind(' ') + 1));
  for (std::size_t i = 0; i < of_endpoint; ++i)
    EXPECT_EQ(values.count(std::to_string(kEndpoint + i)), 1U) << "number " << i << " of Counters";
  for (std::size_t i = 0; i < of_socket; ++i)
    EXPECT_EQ(values.count(std::to_string(kSocket + i)), 1U) << "number " << i << " of UdpSocket::Counters";
}

}  // namespace godwit::homa
