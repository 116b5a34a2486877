#include "volume/core/block_form.h"

#include <gtest/gtest.h>

#include <functional>

#include "base/random.h"
#include "base/varint.h"

namespace godwit::volume {
namespace {

constexpr std::uint64_t kBound = 64 << 20;

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

WriteData write_of(WriteForm form, ConstBytes payload, std::uint64_t zeroes_length = 0) {
  return {.form = form, .offset = 0, .zeroes_length = zeroes_length, .payload = payload};
}

Bytes encoded(WriteForm form, ConstBytes data) {
  Bytes out;
  switch (form) {
    case WriteForm::rle: encode_rle(data, out); break;
    case WriteForm::gzip: encode_gzip(data, out); break;
    case WriteForm::zeroes: encode_zeroes(data, out); break;
    default: append(out, data);
  }
  return out;
}

// Decodes in both ways there are, which must agree.
Result<Bytes> decoded(const WriteData& write, std::uint64_t bound = kBound) {
  const Result<std::uint64_t> length = decoded_length(write, bound);
  if (!length) return fail(length.error());
  Bytes exact(*length, std::byte{0xee});
  const Result<void> done = decode_form(write, exact);
  EXPECT_TRUE(done);
  Bytes roomy(*length + 3, std::byte{0xee});
  const Result<std::uint64_t> within = decode_form_within(write, roomy);
  EXPECT_TRUE(within && *within == *length);
  EXPECT_TRUE(std::equal(exact.begin(), exact.end(), roomy.begin()));
  EXPECT_EQ(to_hex(ConstBytes(roomy).last(3)), "eeeeee") << "written past the decoded length";
  return exact;
}

const WriteForm kForms[] = {WriteForm::raw, WriteForm::rle, WriteForm::gzip, WriteForm::zeroes};

struct Data {
  std::string name;
  std::function<std::byte(Random&, std::size_t)> byte_at;
};

std::vector<Data> kinds_of_data() {
  return {
      {"zeros", [](Random&, std::size_t) { return std::byte{0}; }},
      {"ones", [](Random&, std::size_t) { return std::byte{0xff}; }},
      {"random", [](Random& random, std::size_t) { return static_cast<std::byte>(random.next()); }},
      {"two values", [](Random& random, std::size_t) { return static_cast<std::byte>(random.below(2)); }},
      {"text", [](Random& random, std::size_t) { return static_cast<std::byte>('a' + random.below(20)); }},
      {"sparse", [](Random& random, std::size_t) { return random.below(13) == 0 ? std::byte{7} : std::byte{0}; }},
      {"very sparse", [](Random& random, std::size_t) { return random.below(200) == 0 ? std::byte{7} : std::byte{0}; }},
      {"short runs", [](Random&, std::size_t i) { return static_cast<std::byte>(i / 5); }},
      {"runs of three and four", [](Random&, std::size_t i) { return static_cast<std::byte>(i % 7 < 3 ? 1 : 2); }},
      {"a zero tail",
       [](Random& random, std::size_t i) { return i < 40 ? static_cast<std::byte>(random.next()) : std::byte{0}; }},
      {"a zero head",
       [](Random& random, std::size_t i) { return i > 40 ? static_cast<std::byte>(random.next()) : std::byte{0}; }},
  };
}

Bytes make(const Data& kind, Random& random, std::size_t size) {
  Bytes data(size);
  for (std::size_t i = 0; i < size; ++i) data[i] = kind.byte_at(random, i);
  return data;
}

TEST(BlockForm, WhatIsEncodedDecodesToItself) {
  Random random(1);
  std::vector<std::size_t> sizes = {511, 512, 513, 4095, 4096, 4097, 65536, 1 << 20};
  for (std::size_t size = 0; size < 100; ++size) sizes.push_back(size);
  for (const Data& kind : kinds_of_data()) {
    for (const std::size_t size : sizes) {
      const Bytes data = make(kind, random, size);
      for (const WriteForm form : kForms) {
        const Bytes payload = encoded(form, data);
        const Result<Bytes> back = decoded(write_of(form, payload, data.size()));
        ASSERT_TRUE(back) << kind.name << " " << size << ": " << back.error().message();
        ASSERT_TRUE(*back == data) << kind.name << " " << size << " form " << static_cast<int>(form);
      }
    }
  }
}

// silo.md 10 and the thresholds of silo.md 5.2.
TEST(BlockForm, EncodesAsTheOriginalDoes) {
  struct Row {
    std::string name;
    WriteForm form;
    std::string data, payload;
  };
  const Row rows[] = {
      {"a run and a literal", WriteForm::rle, "070707070707 010203", "0d07 06010203"},
      {"a run of four", WriteForm::rle, "00000000 05", "0900 0205"},
      {"a run of three", WriteForm::rle, "000000 05", "0800000005"},
      {"a run of four at the end", WriteForm::rle, "0102 09090909", "0c010209090909"},
      {"a run of five at the end", WriteForm::rle, "0102 0909090909", "040102 0b09"},
      {"nothing", WriteForm::rle, "", ""},
      {"ranges with a gap of 38", WriteForm::zeroes, "aabb" + std::string(76, '0') + "cc" + std::string(46, '0'),
       "0004aabb 5002cc"},
      {"all zeros", WriteForm::zeroes, std::string(128, '0'), ""},
      {"a gap of 11", WriteForm::zeroes, "01" + std::string(22, '0') + "02", "001a01" + std::string(22, '0') + "02"},
      {"a gap of 12", WriteForm::zeroes, "01" + std::string(24, '0') + "02", "000201 1a0202"},
      {"a short zero tail", WriteForm::zeroes, "0001 00", "020201"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Bytes data = hex(row.data), payload = hex(row.payload);
    EXPECT_EQ(to_hex(encoded(row.form, data)), to_hex(payload));
    const Result<Bytes> back = decoded(write_of(row.form, payload, data.size()));
    ASSERT_TRUE(back);
    EXPECT_EQ(to_hex(*back), to_hex(data));
  }
}

// The plainest encoders that follow the thresholds: the fast ones must give the same bytes.
Bytes plain_rle(ConstBytes data) {
  Bytes out, literal;
  const auto flush = [&] {
    if (!literal.empty()) write_varint(out, literal.size() * 2);
    append(out, literal);
    literal.clear();
  };
  for (std::size_t i = 0; i < data.size();) {
    std::size_t j = i;
    while (j < data.size() && data[j] == data[i]) ++j;
    if (j - i >= (j == data.size() ? 5 : 4)) {
      flush();
      write_varint(out, (j - i) * 2 + 1);
      out.push_back(data[i]);
    } else {
      append(literal, data.subspan(i, j - i));
    }
    i = j;
  }
  flush();
  return out;
}

Bytes plain_zeroes(ConstBytes data) {
  Bytes out;
  std::size_t i = 0;
  while (i < data.size()) {
    if (data[i] == std::byte{0}) {
      ++i;
      continue;
    }
    std::size_t end = i, zeros = 0, j = i;
    for (; j < data.size() && zeros < 12; ++j) {
      zeros = data[j] == std::byte{0} ? zeros + 1 : 0;
      if (zeros == 0) end = j + 1;
    }
    write_varint(out, zigzag(static_cast<std::int64_t>(i)));
    write_varint(out, zigzag(static_cast<std::int64_t>(end - i)));
    append(out, data.subspan(i, end - i));
    i = j;
  }
  return out;
}

TEST(BlockForm, FastScansFindWhatPlainOnesFind) {
  Random random(2);
  for (int round = 0; round < 4000; ++round) {
    // Runs of random lengths around the thresholds, at all alignments.
    Bytes data;
    const std::size_t size = random.below(300);
    while (data.size() < size) {
      const auto value = random.chance(0.5) ? std::byte{0} : static_cast<std::byte>(random.below(3));
      data.insert(data.end(), 1 + random.below(random.chance(0.2) ? 40 : 15), value);
    }
    ASSERT_EQ(to_hex(encoded(WriteForm::rle, data)), to_hex(plain_rle(data))) << to_hex(data);
    ASSERT_EQ(to_hex(encoded(WriteForm::zeroes, data)), to_hex(plain_zeroes(data))) << to_hex(data);
  }
}

TEST(BlockForm, AnyLegalMixtureOfRunsDecodes) {
  Random random(3);
  for (int round = 0; round < 500; ++round) {
    Bytes data, payload;
    for (std::size_t tokens = random.below(20); tokens > 0; --tokens) {
      const std::size_t length = random.below(random.chance(0.1) ? 5000 : 6);  // none at all is legal too
      if (random.chance(0.5)) {
        const auto value = static_cast<std::byte>(random.next());
        write_varint(payload, length * 2 + 1);
        payload.push_back(value);
        data.insert(data.end(), length, value);
      } else {
        write_varint(payload, length * 2);
        for (std::size_t i = 0; i < length; ++i) {
          payload.push_back(static_cast<std::byte>(random.next()));
          data.push_back(payload.back());
        }
      }
    }
    const Result<Bytes> back = decoded(write_of(WriteForm::rle, payload));
    ASSERT_TRUE(back);
    ASSERT_TRUE(*back == data);
  }
}

TEST(BlockForm, RangesMayComeInAnyOrderAndOverlap) {
  Random random(4);
  for (int round = 0; round < 500; ++round) {
    Bytes data(random.below(400)), payload;
    for (std::size_t ranges = random.below(10); ranges > 0; --ranges) {
      const std::size_t start = random.below(data.size() + 1), length = random.below(data.size() - start + 1);
      write_varint(payload, zigzag(static_cast<std::int64_t>(start)));
      write_varint(payload, zigzag(static_cast<std::int64_t>(length)));
      for (std::size_t i = 0; i < length; ++i) {
        payload.push_back(static_cast<std::byte>(random.next()));
        data[start + i] = payload.back();
      }
    }
    const Result<Bytes> back = decoded(write_of(WriteForm::zeroes, payload, data.size()));
    ASSERT_TRUE(back);
    ASSERT_TRUE(*back == data);
  }
}

TEST(BlockForm, ConcatenatedGzipMembersDecodeToOneBlock) {
  Random random(5);
  const Bytes first = make(kinds_of_data()[4], random, 5000), second = make(kinds_of_data()[2], random, 70000);
  Bytes payload = encoded(WriteForm::gzip, first);
  append(payload, encoded(WriteForm::gzip, {}));
  append(payload, encoded(WriteForm::gzip, second));
  Bytes both = first;
  append(both, second);
  const Result<Bytes> back = decoded(write_of(WriteForm::gzip, payload));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_TRUE(*back == both);
}

TEST(BlockForm, AGzipPayloadHintsAtItsLengthAndIsNotBelievedBlindly) {
  Random random(5);
  const Bytes data = make(kinds_of_data()[2], random, 70000);
  const Bytes sound = encoded(WriteForm::gzip, data);
  EXPECT_EQ(hinted_gzip_length(sound, 1 << 20), data.size());
  EXPECT_EQ(hinted_gzip_length(sound, 1000), 1000u) << "the bound";
  EXPECT_EQ(hinted_gzip_length(ConstBytes(sound).first(17), 1 << 20), 0u) << "no whole member";
  Bytes liar = encoded(WriteForm::gzip, as_bytes("hello"));
  for (std::size_t i = 1; i <= 4; ++i) liar[liar.size() - i] = std::byte{0xFF};
  EXPECT_LE(hinted_gzip_length(liar, 1ull << 40), liar.size() * 1032) << "more than so few bytes can hold";
}

TEST(BlockForm, TheBoundIsMetExactly) {
  Random random(6);
  for (const Data& kind : kinds_of_data()) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{40000}}) {
      const Bytes data = make(kind, random, size);
      for (const WriteForm form : kForms) {
        SCOPED_TRACE(kind.name + " " + std::to_string(static_cast<int>(form)));
        const Bytes payload = encoded(form, data);
        const WriteData write = write_of(form, payload, size);
        EXPECT_EQ(decoded_length(write, size).value_or(0), size);
        const Result<std::uint64_t> less = decoded_length(write, size - 1);
        ASSERT_FALSE(less);
        EXPECT_EQ(less.error().kind(), ErrorKind::limit);
        Bytes into(size - 1);
        const Result<void> small = decode_form(write, into);
        ASSERT_FALSE(small);
        EXPECT_EQ(small.error().kind(), ErrorKind::limit);
        Bytes larger(size + 1);
        const Result<void> large = decode_form(write, larger);
        ASSERT_FALSE(large);
        EXPECT_EQ(large.error().kind(), ErrorKind::invalid);
      }
    }
  }
}

TEST(BlockForm, BombsStopAtTheBound) {
  Bytes zip = encoded(WriteForm::gzip, Bytes(64 << 20));
  EXPECT_LT(zip.size(), 400000U);
  Bytes run;
  write_varint(run, ~std::uint64_t{0});
  run.push_back(std::byte{1});
  Bytes runs;  // each alone fits, their sum wraps
  for (int i = 0; i < 4; ++i) {
    write_varint(runs, (std::uint64_t{1} << 62 << 1) | 1);
    runs.push_back(std::byte{1});
  }
  const std::pair<std::string, WriteData> rows[] = {
      {"gzip", write_of(WriteForm::gzip, zip)},
      {"one run", write_of(WriteForm::rle, run)},
      {"runs", write_of(WriteForm::rle, runs)},
      {"zeros", write_of(WriteForm::zeroes, {}, ~std::uint64_t{0})},
  };
  for (const auto& [name, write] : rows) {
    SCOPED_TRACE(name);
    const Result<std::uint64_t> length = decoded_length(write, 4096);
    ASSERT_FALSE(length);
    EXPECT_EQ(length.error().kind(), ErrorKind::limit);
    Bytes into(4096);
    EXPECT_FALSE(decode_form(write, into));
  }
  EXPECT_FALSE(decoded_length(write_of(WriteForm::rle, runs), ~std::uint64_t{0})) << "a sum past 64 bits";
}

TEST(BlockForm, MalformedPayloadsAreErrorsInBothWaysOfDecoding) {
  Bytes zip = encoded(WriteForm::gzip, as_bytes("hello, hello, hello, hello"));
  Bytes zip_bad_sum = zip;
  zip_bad_sum[zip.size() - 6] ^= std::byte{1};
  Bytes zip_and_garbage = zip;
  zip_and_garbage.push_back(std::byte{'x'});
  struct Row {
    std::string name;
    WriteForm form;
    Bytes payload;
    std::uint64_t zeroes_length = 0;
  };
  const Row rows[] = {
      {"a run without its byte", WriteForm::rle, hex("09")},
      {"a literal cut off", WriteForm::rle, hex("06 0102")},
      {"a literal of nothing that is there", WriteForm::rle, hex("02")},
      {"a length cut off", WriteForm::rle, hex("80")},
      {"a length of ten bytes and more", WriteForm::rle, hex("80808080808080808080 01 00")},
      {"a length past 64 bits", WriteForm::rle, hex("ffffffffffffffffff 02 00")},
      {"a negative start", WriteForm::zeroes, hex("01 02 aa"), 64},
      {"a negative count", WriteForm::zeroes, hex("00 01"), 64},
      {"a range past the end", WriteForm::zeroes, hex("80 01 02 aa"), 64},
      {"a range that begins past the end", WriteForm::zeroes, hex("8201 00"), 64},
      {"a range whose end wraps", WriteForm::zeroes, hex("feffffffffffffffff01 feffffffffffffffff01"), 64},
      {"a count without bytes", WriteForm::zeroes, hex("00 04 aa"), 64},
      {"a start without a count", WriteForm::zeroes, hex("00"), 64},
      {"a start of eleven bytes", WriteForm::zeroes, hex("8080808080808080808001 00"), 64},
      {"a range in no bytes", WriteForm::zeroes, hex("00 02 aa"), 0},
      {"no gzip at all", WriteForm::gzip, {}},
      {"not gzip", WriteForm::gzip, to_bytes(as_bytes("hello, this is no gzip"))},
      {"zlib instead of gzip", WriteForm::gzip, hex("789ccb48cdc9c907000 62c0215")},
      {"a bad sum", WriteForm::gzip, zip_bad_sum},
      {"garbage behind a member", WriteForm::gzip, zip_and_garbage},
      {"a form without bytes", WriteForm::by_hash, {}},
      {"another one", WriteForm::already_have, {}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const WriteData write = write_of(row.form, row.payload, row.zeroes_length);
    EXPECT_FALSE(decoded_length(write, kBound));
    Bytes into(row.zeroes_length == 0 ? 100 : row.zeroes_length);
    EXPECT_FALSE(decode_form_within(write, into));
    EXPECT_FALSE(decode_form(write, into));
  }
}

TEST(BlockForm, APayloadCutAnywhereNeverDecodesToTheWhole) {
  Random random(8);
  const Bytes data = make(kinds_of_data()[5], random, 700);
  for (const WriteForm form : {WriteForm::rle, WriteForm::gzip, WriteForm::zeroes}) {
    const Bytes payload = encoded(form, data);
    for (std::size_t size = 0; size < payload.size(); ++size) {
      const Result<Bytes> back = decoded(write_of(form, ConstBytes(payload).first(size), data.size()));
      ASSERT_FALSE(form == WriteForm::gzip && back) << size;
      ASSERT_FALSE(back && *back == data) << size;
    }
  }
}

TEST(BlockForm, OnlyAllZeroDataIsAllZeroes) {
  EXPECT_TRUE(is_all_zeroes(write_of(WriteForm::zeroes, {}, 4096)));
  const Bytes range = hex("000201");
  EXPECT_FALSE(is_all_zeroes(write_of(WriteForm::zeroes, range, 4096)));
  EXPECT_FALSE(is_all_zeroes(write_of(WriteForm::raw, {})));
}

}  // namespace
}  // namespace godwit::volume
