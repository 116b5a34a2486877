#include "homa/core/way_estimate.h"

#include <gtest/gtest.h>

#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

Config adapting(std::uint32_t link_mbps, bool adapt_link) {
  Config config;
  config.rtt_bytes = 60'000;
  config.grant_increment = 10'000;
  config.link_mbps = link_mbps;
  config.adapt_rtt_bytes = true;
  config.adapt_link = adapt_link;
  return config;
}

void give_round_trips(WayEstimate& way, Instant now, Duration took, std::uint32_t count = WayEstimate::kRoundTripsMin) {
  for (std::uint32_t i = 0; i < count; ++i) way.handle_round_trip(now, took);
}

const Instant kNow{1'000'000'000};

TEST(WayEstimate, RttBytesAreWhatTheLinkCarriesInTheLeastRoundTripAndAPacket) {
  const struct {
    const char* name;
    std::uint32_t mbps;
    std::int64_t us;
    std::uint32_t rtt_bytes;
  } rows[] = {{"10 Gb/s, 40 us", 10'000, 40, 50'000 + 1412},
              {"25 Gb/s, 15 us", 25'000, 15, 46'875 + 1412},
              {"1 Gb/s, 100 us", 1'000, 100, 12'500 + 1412},
              {"never less than grants rise by", 100, 50, 10'000},
              {"never more than a message", 100'000, 10'000, 1'000'000},
              {"a stopped clock's year", 100'000, 31'536'000'000'000, 1'000'000}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    WayEstimate way(adapting(row.mbps, false));
    give_round_trips(way, kNow, Duration::microseconds(row.us * 3));
    way.handle_round_trip(kNow, Duration::microseconds(row.us));
    EXPECT_EQ(way.rtt_bytes(), row.rtt_bytes);
    EXPECT_EQ(way.link_mbps(), row.mbps);
  }
}

TEST(WayEstimate, KeepsWhatIsConfiguredUntilEnoughWasSeen) {
  WayEstimate way(adapting(10'000, false));
  give_round_trips(way, kNow, Duration::microseconds(10), WayEstimate::kRoundTripsMin - 1);
  EXPECT_EQ(way.rtt_bytes(), 60'000u);
  EXPECT_FALSE(way.round_trip());
  way.handle_round_trip(kNow, Duration{0});  // a clock that stood still says nothing
  EXPECT_EQ(way.rtt_bytes(), 60'000u);
  way.handle_round_trip(kNow, Duration::microseconds(20));
  EXPECT_EQ(way.rtt_bytes(), 12'500u + 1412);
}

TEST(WayEstimate, WhatTheUserSaidStays) {
  Config config = adapting(10'000, false);
  config.adapt_rtt_bytes = false;
  WayEstimate way(config);
  give_round_trips(way, kNow, Duration::microseconds(10));
  way.handle_delivery(kNow, 1'000'000, Duration::milliseconds(1));
  EXPECT_EQ(way.rtt_bytes(), 60'000u);
  EXPECT_EQ(way.link_mbps(), 10'000u);
}

TEST(WayEstimate, ALinkOfUnknownSpeedIsPacedAboveTheBestThatWasReceived) {
  WayEstimate way(adapting(0, true));
  give_round_trips(way, kNow, Duration::microseconds(100));
  EXPECT_EQ(way.link_mbps(), 0u);
  EXPECT_EQ(way.rtt_bytes(), 60'000u) << "without a rate a time gives no bytes";
  way.handle_delivery(kNow, 500'000, Duration::milliseconds(4));
  EXPECT_EQ(way.rate_mbps(), 1000u);
  EXPECT_EQ(way.link_mbps(), 1250u);
  EXPECT_EQ(way.rtt_bytes(), 15'625u + 1412);
  way.handle_delivery(kNow, 500'000, Duration::milliseconds(40));
  EXPECT_EQ(way.link_mbps(), 1250u) << "somebody who receives slowly is not the link";
}

TEST(WayEstimate, ShortStretchesAndBurstsOfGrantsAreNoRate) {
  WayEstimate way(adapting(0, true));
  way.handle_delivery(kNow, way.delivery_bytes_min() - 1, Duration::milliseconds(1));
  way.handle_delivery(kNow, 1'000'000, WayEstimate::kDeliveryTimeMin - Duration{1});
  EXPECT_FALSE(way.rate_mbps());
}

// A window that is smaller than the way holds is what limits the rate that is seen.
TEST(WayEstimate, AWindowThatIsTooSmallGrowsUntilTheLinkIsTheLimit) {
  constexpr double kLinkMbps = 10'000;
  const Duration rtt = Duration::microseconds(200);
  WayEstimate way(adapting(0, true));
  give_round_trips(way, kNow, rtt);
  double seen = 0;
  for (int i = 0; i < 30; ++i) {
    const double window_mbps = way.rtt_bytes() * 8e3 / static_cast<double>(rtt.nanoseconds);
    const double paced = way.link_mbps() == 0 ? kLinkMbps : way.link_mbps();
    seen = std::min({kLinkMbps, window_mbps, paced});
    way.handle_delivery(kNow, 800'000, Duration{static_cast<std::int64_t>(800'000 * 8e3 / seen)});
  }
  EXPECT_GE(seen, 0.98 * kLinkMbps);
  EXPECT_LE(way.rtt_bytes(), 1.3 * 250'000 + 1412);
}

TEST(WayEstimate, WhatWasSeenLongAgoIsForgottenWhenOtherIsSeen) {
  WayEstimate way(adapting(10'000, false));
  give_round_trips(way, kNow, Duration::microseconds(10));
  EXPECT_EQ(way.round_trip(), Duration::microseconds(10));
  Instant later = kNow + WayEstimate::kEpoch * 100;
  EXPECT_EQ(way.round_trip(), Duration::microseconds(10)) << "silence ages nothing";
  way.handle_round_trip(later, Duration::microseconds(50));
  EXPECT_EQ(way.round_trip(), Duration::microseconds(10));
  later = later + WayEstimate::kEpoch;
  way.handle_round_trip(later, Duration::microseconds(50));
  EXPECT_EQ(way.round_trip(), Duration::microseconds(50));
}

// --- in the endpoint ---

TEST(WayEstimate, AnEndpointLearnsFromFirstGrantsAndLoneAnswers) {
  for (const bool is_long : {true, false}) {
    SCOPED_TRACE(is_long ? "grants" : "responses");
    Scene scene(adapting(10'000, false));
    for (int i = 0; i < 8; ++i) {
      const StartedCall call = scene.call(is_long ? 100'000 : 100);
      scene.now = scene.now + Duration::milliseconds(1);  // the link's pace
      scene.sent();
      scene.now = scene.now + Duration::microseconds(32);
      is_long ? scene.give(other_side(call.id), Grant{70'000, 0}) : scene.give(other_side(call.id), Scene::data(100));
      scene.host.endpoint().handle_abort(scene.now, call.rpc);
    }
    EXPECT_EQ(scene.endpoint().config().rtt_bytes, 40'000u + 1412);
  }
}

TEST(WayEstimate, WhatWasSentAgainTellsNoRoundTrip) {
  Scene scene(adapting(10'000, false));
  for (int i = 0; i < 20; ++i) {
    const StartedCall call = scene.call(100);
    scene.sent();
    scene.now = scene.now + Duration::milliseconds(20);
    scene.give(other_side(call.id), Resend{0, 100, 7});
    scene.sent();
    scene.now = scene.now + Duration::microseconds(1);
    scene.give(other_side(call.id), Scene::data(100));
  }
  EXPECT_EQ(scene.endpoint().config().rtt_bytes, 60'000u);
}

TEST(WayEstimate, AnEndpointLearnsTheRateFromTheGrantsOfALongMessage) {
  Config config = adapting(0, true);
  Scene scene(config);
  const StartedCall call = scene.call(1'000'000);
  std::uint32_t granted = 60'000;
  scene.sent();
  while (granted < 1'000'000) {
    scene.now = scene.now + Duration::microseconds(80);  // 10,000 bytes: 1 Gb/s
    granted += 10'000;
    scene.give(other_side(call.id), Grant{granted, 0});
    scene.sent();
  }
  EXPECT_EQ(scene.endpoint().way().rate_mbps(), 1000u);
  EXPECT_EQ(scene.endpoint().config().link_mbps, 1250u);
}

}  // namespace
}  // namespace godwit::homa
