// Making and extracting together, on real files.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/core/chunker.h"
#include "chunks/core/golden_inputs.h"
#include "chunks/driver/extract_blob.h"
#include "chunks/driver/make_blob.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

using namespace godwit;
using namespace godwit::chunks;
using store::conformance::wait_for;

namespace {

class BlobTest : public ::testing::Test {
 protected:
  std::unique_ptr<ChunkStore> open_store(const std::string& name = "store") {
    return std::move(
        open_local_store(folder_ / name, true, {.compression = Compression::zstd, .level = 1}, *workers_, loop_).value());
  }
  void write_file(const std::string& name, ConstBytes content) {
    std::ofstream file(folder_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  }
  Bytes read(const std::string& name) { return golden::file(folder_ / name); }

  Result<MakeBlobResult> make(const std::string& input, const std::string& index, ChunkStore& store, const ChunkSizes& sizes = {},
                              unsigned threads = 2, Digest digest = Digest::sha512_256) {
    MakeBlobOptions options;
    options.stream = {.rule = *CutRule::of(sizes), .digest = digest, .digest_stream = true, .threads = threads};
    options.sync = false;
    Result<std::unique_ptr<ByteSource>> source = ByteSource::open(folder_ / input);
    if (!source) return fail(source.error());
    auto made = MakeBlob::create(std::move(*source), folder_ / index, store, options, *workers_, loop_);
    if (!made) return fail(made.error());
    return wait_for<MakeBlobResult>([this] { loop_.run(); }, [&](auto done) { (*made)->start(std::move(done)); });
  }

  Result<ExtractBlobResult> extract(const std::string& index_name, const std::string& output_name, ChunkStore& store,
                                    const FileOutputOptions& output_options = {.in_place = false,
                                                                               .punch_holes = true,
                                                                               .sync = false},
                                    const std::string& seed = "") {
    const Result<Index> index = read_index_file(folder_ / index_name);
    if (!index) return fail(index.error());
    auto output = make_file_output(folder_ / output_name, index->blob_size(), output_options);
    if (!output) return fail(output.error());
    SeedMap seeds(*index);
    if (!seed.empty()) {
      const Result<void> added = wait_for<void>(
          [this] { loop_.run(); }, [&](auto done) { seeds.add(folder_ / seed, 2, *workers_, loop_, std::move(done)); });
      if (!added) return fail(added.error());
    }
    ExtractBlobOptions options;
    options.length = index->blob_size();
    ExtractBlob extract(*index, store, &seeds, **output, options, *workers_);
    return wait_for<ExtractBlobResult>([this] { loop_.run(); }, [&](auto done) { extract.start(loop_, std::move(done)); });
  }

  std::vector<std::string> files_here() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) names.push_back(entry.path().filename());
    std::ranges::sort(names);
    return names;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 3);
};

// The index as one thread and the definition make it.
Bytes expected_index(ConstBytes blob, const ChunkSizes& sizes, Digest digest) {
  Chunker chunker(*CutRule::of(sizes), ScanVariant::scalar);
  std::vector<std::uint64_t> cuts;
  chunker.feed(blob, cuts);
  chunker.finish(cuts);
  Index index{.header = {.flags = with_digest(kDefaultBlobFlags, digest), .sizes = sizes}, .entries = {}};
  for (const std::uint64_t cut : cuts)
    index.entries.push_back({.end = cut, .id = chunk_id_of(blob.subspan(index.blob_size(), cut - index.blob_size()), digest)});
  return encode_index(index);
}

TEST_F(BlobTest, AnyThreadsAndSizesMakeTheIndexThatOneThreadMakes) {
  const Bytes random = golden::random_bytes(51, 5'300'007);
  const ChunkSizes small{.min = 1024, .avg = 4096, .max = 16384};
  struct Row {
    const char* name;
    Bytes content;
    ChunkSizes sizes;
  };
  const Row rows[] = {
      {"empty", {}, {}},
      {"one byte", Bytes(1, std::byte{7}), {}},
      {"one block", to_bytes(ConstBytes(random).first(1024 * 1024)), {}},
      {"random", random, {}},
      {"random, small chunks", random, small},
      {"random, chunks of one size", random, {.min = 65536, .avg = 65536, .max = 65536}},
      {"tiny chunks", to_bytes(ConstBytes(random).first(70'000)), {.min = 1, .avg = 64, .max = 100}},
      {"zeros", Bytes(3'000'000), {}},
      {"text", golden::text(52, 3'000'000), {}},
  };
  for (const Row& row : rows) {
    write_file("input", row.content);
    for (const unsigned threads : {1u, 2u, 5u}) {
      for (const Digest digest : {Digest::sha512_256, Digest::sha256}) {
        SCOPED_TRACE(std::string(row.name) + " " + std::to_string(threads));
        const auto store = open_store(std::string(row.name) + std::string(name_of(digest)));
        const Result<MakeBlobResult> made = make("input", "blob.caibx", *store, row.sizes, threads, digest);
        ASSERT_TRUE(made) << made.error().message();
        EXPECT_EQ(read("blob.caibx"), expected_index(row.content, row.sizes, digest));
        EXPECT_EQ(made->stream.size, row.content.size());
        EXPECT_EQ(made->stream.digest, chunk_id_of(row.content, digest));
      }
    }
    const auto store = open_store(std::string(row.name) + "sha256");
    const Result<ExtractBlobResult> extracted = extract("blob.caibx", "output", *store);
    ASSERT_TRUE(extracted) << row.name << ": " << extracted.error().message();
    EXPECT_EQ(read("output"), row.content) << row.name;
  }
}

TEST_F(BlobTest, HolesAreNotReadAndMakeTheSameIndex) {
  const ChunkSizes table[] = {{}, {.min = 1024, .avg = 4096, .max = 16384}, {.min = 4096, .avg = 4096, .max = 4096}};
  const Bytes data = golden::random_bytes(53, 300'000);
  // Offsets of data in a file of holes.
  struct Row {
    const char* name;
    std::uint64_t size;
    std::vector<std::uint64_t> data_at;
  };
  const Row rows[] = {
      {"all hole", 5'000'001, {}},
      {"a small hole", 900'000, {0, 400'000}},
      {"data in the middle", 9'000'000, {4'000'003}},
      {"ends in a hole", 7'340'032, {0}},
      {"hole of whole zero chunks", 300'000 + 262144 + 48 + 262144 * 9, {0}},
      {"begins with a hole", 6'000'000, {5'700'000}},
  };
  const auto store = open_store();
  for (const Row& row : rows) {
    Bytes content(row.size);
    const std::string path = folder_ / "sparse";
    std::filesystem::remove(path);
    {
      std::ofstream create(path);
    }
    std::filesystem::resize_file(path, row.size);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    for (const std::uint64_t at : row.data_at) {
      std::ranges::copy(data, content.begin() + static_cast<std::ptrdiff_t>(at));
      file.seekp(static_cast<std::streamoff>(at));
      file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    }
    file.close();
    for (const ChunkSizes& sizes : table) {
      SCOPED_TRACE(std::string(row.name) + " " + text_of(sizes));
      const Result<MakeBlobResult> made = make("sparse", "blob.caibx", *store, sizes);
      ASSERT_TRUE(made) << made.error().message();
      EXPECT_EQ(read("blob.caibx"), expected_index(content, sizes, Digest::sha512_256));
      EXPECT_EQ(made->stream.digest, chunk_id_of(content, Digest::sha512_256));
      ASSERT_TRUE(extract("blob.caibx", "output", *store));
      EXPECT_EQ(read("output"), content);
      struct stat status{};
      ASSERT_EQ(::stat((folder_ / "output").c_str(), &status), 0);
      EXPECT_LE(static_cast<std::uint64_t>(status.st_blocks) * 512, row.data_at.size() * (data.size() + 16384) + 4096)
          << "zeros are holes";
    }
  }
}

TEST_F(BlobTest, ASecondMakeStoresNothing) {
  write_file("input", golden::random_bytes(54, 2'000'000));
  const auto store = open_store();
  const Result<MakeBlobResult> first = make("input", "a.caibx", *store);
  const Result<MakeBlobResult> second = make("input", "b.caibx", *store);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->new_chunks, first->stream.chunk_count);
  EXPECT_EQ(first->new_bytes, 2'000'000u);
  EXPECT_EQ(second->new_chunks, 0u);
  EXPECT_EQ(read("a.caibx"), read("b.caibx"));
}

TEST_F(BlobTest, AnExtractTakesWhatSeedsHaveAndVerifiesIt) {
  const Bytes content = golden::random_bytes(55, 3'000'000);
  write_file("input", content);
  const auto store = open_store();
  ASSERT_TRUE(make("input", "blob.caibx", *store));

  const auto empty = open_store("empty");
  Result<ExtractBlobResult> extracted =
      extract("blob.caibx", "output", *empty, {.in_place = false, .punch_holes = true, .sync = false}, "input");
  ASSERT_TRUE(extracted) << extracted.error().message();
  EXPECT_EQ(read("output"), content);
  EXPECT_EQ(extracted->bytes_reused, content.size());

  Bytes changed = content;
  changed.insert(changed.begin() + 1'000'000, std::byte{1});
  write_file("seed", changed);
  extracted = extract("blob.caibx", "output2", *store, {.in_place = false, .punch_holes = true, .sync = false}, "seed");
  ASSERT_TRUE(extracted);
  EXPECT_EQ(read("output2"), content);
  EXPECT_GT(extracted->bytes_reused, content.size() * 3 / 4);
  EXPECT_GT(extracted->bytes_fetched, 0u);
}

TEST_F(BlobTest, InPlaceWorksWhateverTheFileHeld) {
  const Bytes content = golden::random_bytes(56, 2'000'000);
  write_file("input", content);
  const auto store = open_store();
  ASSERT_TRUE(make("input", "blob.caibx", *store));
  Bytes longer = content;
  longer.push_back(std::byte{1});
  Bytes damaged = content;
  damaged[1'234'567] ^= std::byte{1};
  struct Row {
    const char* name;
    Bytes before;
    std::uint64_t reused_min;
  };
  const Row rows[] = {
      {"the same", content, content.size()},
      {"a byte longer", longer, content.size()},
      {"damaged", damaged, 1'500'000},
      {"half", to_bytes(ConstBytes(content).first(1'000'000)), 700'000},
      {"something else", golden::text(57, 100'000), 0},
      {"nothing", {}, 0},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    write_file("output", row.before);
    const Result<ExtractBlobResult> extracted =
        extract("blob.caibx", "output", *store, {.in_place = true, .punch_holes = true, .sync = false});
    ASSERT_TRUE(extracted) << extracted.error().message();
    EXPECT_EQ(read("output"), content);
    EXPECT_GE(extracted->bytes_reused, row.reused_min);
  }
}

TEST_F(BlobTest, WhatIsMissingOrDamagedIsNamedAndLeavesNothing) {
  write_file("input", golden::random_bytes(58, 1'000'000));
  const auto store = open_store();
  ASSERT_TRUE(make("input", "blob.caibx", *store));
  write_file("output", as_bytes("the good old one"));
  const Result<Index> index = read_index_file(folder_ / "blob.caibx");
  const std::string victim = folder_ / ("store/" + chunk_name(index->entries[2].id, true));
  const std::vector<std::string> before = files_here();

  std::filesystem::remove(victim);
  Result<ExtractBlobResult> extracted = extract("blob.caibx", "output", *store);
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().kind(), ErrorKind::not_found);
  for (const std::string& said : {index->entries[2].id.hex(), folder_ / "store", std::to_string(index->start_of(2))})
    EXPECT_NE(extracted.error().message().find(said), std::string::npos) << extracted.error().message();

  std::ofstream(victim) << "not a chunk";
  extracted = extract("blob.caibx", "output", *store);
  ASSERT_FALSE(extracted);
  EXPECT_EQ(extracted.error().kind(), ErrorKind::corrupt);
  EXPECT_EQ(as_text(read("output")), "the good old one");
  loop_.run();
  EXPECT_EQ(files_here(), before);
}

TEST_F(BlobTest, AFailedMakeLeavesNoIndexAndTheOldOneStays) {
  write_file("input", golden::random_bytes(59, 3'000'000));
  write_file("blob.caibx", as_bytes("the old index"));
  const auto store = open_store();
  // A file where a chunk's folder must be.
  const Index expected = *decode_index(expected_index(read("input"), {}, Digest::sha512_256));
  std::ofstream(folder_ / ("store/" + expected.entries[10].id.hex().substr(0, 4))) << "in the way";
  const std::vector<std::string> before = files_here();
  const Result<MakeBlobResult> made = make("input", "blob.caibx", *store);
  ASSERT_FALSE(made);
  EXPECT_EQ(as_text(read("blob.caibx")), "the old index");
  loop_.run();
  EXPECT_EQ(files_here(), before);
  EXPECT_FALSE(make("none", "blob.caibx", *store));
}

TEST_F(BlobTest, AFileThatShrinksWhileItIsReadIsAnError) {
  write_file("input", golden::random_bytes(60, 3'000'000));
  Result<std::unique_ptr<ByteSource>> source = ByteSource::open(folder_ / "input");
  std::filesystem::resize_file(folder_ / "input", 1'000'000);
  const auto store = open_store();
  auto made = MakeBlob::create(std::move(*source), folder_ / "blob.caibx", *store, {}, *workers_, loop_);
  const auto result = wait_for<MakeBlobResult>([this] { loop_.run(); }, [&](auto done) { (*made)->start(std::move(done)); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::truncated);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "blob.caibx"));
}

TEST_F(BlobTest, ARangeGoesToAPipeInOrder) {
  const Bytes content = golden::random_bytes(61, 1'500'000);
  write_file("input", content);
  const auto store = open_store();
  ASSERT_TRUE(make("input", "blob.caibx", *store));
  const Result<Index> index = read_index_file(folder_ / "blob.caibx");
  for (const auto& [offset, length] :
       {std::pair<std::uint64_t, std::uint64_t>{0, 1'500'000}, {1, 1}, {100'000, 700'001}, {1'499'999, 1}, {5, 0}}) {
    std::optional<ChunkId> digest;
    const auto output = make_digest_output(Digest::sha256, digest);
    ExtractBlobOptions options;
    options.offset = offset;
    options.length = length;
    options.requests_max = 8;
    ExtractBlob extract(*index, *store, nullptr, *output, options, *workers_);
    ASSERT_TRUE(wait_for<ExtractBlobResult>([this] { loop_.run(); }, [&](auto done) { extract.start(loop_, std::move(done)); }));
    EXPECT_EQ(digest, chunk_id_of(ConstBytes(content).subspan(offset, length), Digest::sha256)) << offset << " " << length;
  }
}

}  // namespace
