#include "chunks/core/remote_answers.h"

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

using wire::Priority;

ChunkId id_of(int number) {
  ChunkId id;
  id.bytes[0] = static_cast<std::byte>(number);
  id.bytes[31] = static_cast<std::byte>(number >> 8);
  return id;
}

int number_of(const ChunkId& id) {
  return std::to_integer<int>(id.bytes[0]) + 256 * std::to_integer<int>(id.bytes[31]);
}

// Loads and answers all there is; gives the ids that were answered.
std::vector<int> serve(RemoteAnswers& answers) {
  std::vector<int> answered;
  while (true) {
    if (const auto answer = answers.poll_answer()) {
      answered.push_back(number_of(answer->id));
    } else if (const auto id = answers.poll_load()) {
      answers.handle_loaded(*id, 100);
    } else {
      return answered;
    }
  }
}

struct Step {
  Priority priority = Priority::low;
  int id = 0;  // 0: everything asked so far is answered now
};
constexpr Step low(int id) {
  return {Priority::low, id};
}
constexpr Step high(int id) {
  return {Priority::high, id};
}
constexpr Step kServe{};

// casync.md 2.4 (4) and 8.6.
TEST(RemoteAnswers, WhichRequestsAreOneAndInWhichOrderTheyAreAnswered) {
  const struct {
    const char* name;
    std::vector<Step> steps;
    std::vector<int> answered;
  } rows[] = {
      {"in the order of asking", {low(1), low(2), low(3)}, {1, 2, 3}},
      {"high before low", {low(1), low(2), high(3), high(4)}, {3, 4, 1, 2}},
      {"a high moves what is queued low", {low(1), low(2), low(3), high(2)}, {2, 1, 3}},
      {"low twice", {low(1), low(1)}, {1}},
      {"low again after the answer", {low(1), kServe, low(1)}, {1}},
      {"high after a low that was answered is the same request", {low(1), kServe, high(1)}, {1}},
      {"low after a high is the same request", {high(1), low(1)}, {1}},
      {"low after a high that was answered is the same request", {high(1), kServe, low(1)}, {1}},
      {"high twice before the answer", {high(1), high(1)}, {1}},
      {"high again after a high was answered is sent again", {high(1), kServe, high(1), kServe, high(1)}, {1, 1, 1}},
      {"high again after a low and a high", {low(1), high(1), kServe, high(1)}, {1, 1}},
      {"high, high again, low", {high(1), kServe, high(1), kServe, low(1)}, {1, 1}},
  };
  for (const auto& row : rows) {
    RemoteAnswers answers({});
    std::vector<int> answered;
    const auto serve_all = [&] {
      const std::vector<int> now = serve(answers);
      answered.insert(answered.end(), now.begin(), now.end());
    };
    for (const Step& step : row.steps) {
      if (step.id == 0)
        serve_all();
      else
        answers.handle_request({step.priority, {id_of(step.id)}});
    }
    serve_all();
    EXPECT_EQ(answered, row.answered) << row.name;
    EXPECT_TRUE(answers.is_idle()) << row.name;
  }
}

TEST(RemoteAnswers, LeaveInTheOrderOfLoadingWhateverIsLoadedFirst) {
  RemoteAnswers answers({});
  answers.handle_request({Priority::high, {id_of(1), id_of(2), id_of(3)}});
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(answers.poll_load());
  answers.handle_loaded(id_of(3), 10);
  answers.handle_absent(id_of(2));
  EXPECT_FALSE(answers.poll_answer());
  answers.handle_loaded(id_of(1), 10);
  const auto first = answers.poll_answer(), second = answers.poll_answer(), third = answers.poll_answer();
  EXPECT_EQ(first->id, id_of(1));
  EXPECT_TRUE(first->is_present);
  EXPECT_EQ(second->id, id_of(2));
  EXPECT_FALSE(second->is_present);
  EXPECT_EQ(third->id, id_of(3));
}

TEST(RemoteAnswers, NoMoreIsLoadedThanTheLimitsAllow) {
  RemoteAnswers by_count({.loads = 2});
  by_count.handle_request({Priority::low, {id_of(1), id_of(2), id_of(3)}});
  EXPECT_TRUE(by_count.poll_load());
  EXPECT_TRUE(by_count.poll_load());
  EXPECT_FALSE(by_count.poll_load());
  by_count.handle_loaded(id_of(1), 1);
  EXPECT_FALSE(by_count.poll_load()) << "loaded and not sent counts";
  ASSERT_TRUE(by_count.poll_answer());
  EXPECT_TRUE(by_count.poll_load());

  RemoteAnswers by_bytes({.loaded_bytes = 1000});
  by_bytes.handle_request({Priority::low, {id_of(1), id_of(2)}});
  ASSERT_TRUE(by_bytes.poll_load());
  by_bytes.handle_loaded(id_of(1), 1000);
  EXPECT_FALSE(by_bytes.poll_load());
  ASSERT_TRUE(by_bytes.poll_answer());
  EXPECT_TRUE(by_bytes.poll_load());
}

TEST(RemoteAnswers, APeerThatAsksForTooMuchIsNotRead) {
  RemoteAnswers answers({.waiting = 3});
  answers.handle_request({Priority::low, {id_of(1), id_of(2)}});
  EXPECT_TRUE(answers.has_room());
  answers.handle_request({Priority::low, {id_of(3)}});
  EXPECT_FALSE(answers.has_room());
  serve(answers);
  EXPECT_TRUE(answers.has_room());
}

TEST(RemoteAnswers, WhatWasForgottenIsAnsweredOnceMore) {
  RemoteAnswers answers({.remembered = 2});
  answers.handle_request({Priority::low, {id_of(1), id_of(2), id_of(3)}});
  serve(answers);
  answers.handle_request({Priority::low, {id_of(3), id_of(1)}});
  EXPECT_EQ(serve(answers), (std::vector<int>{1}));
}

}  // namespace
}  // namespace godwit::chunks
