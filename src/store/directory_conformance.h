// What every Directory does, as one function for the tests of each implementation. Only tests include this.
#pragma once

#include <gtest/gtest.h>

#include "store/block_device_conformance.h"
#include "store/directory.h"

namespace godwit::store::conformance {

class BlockingDirectory {
 public:
  BlockingDirectory(Directory& directory, Pump pump) : directory_(directory), pump_(std::move(pump)) {}

  Result<std::vector<std::string>> list() {
    return wait_for<std::vector<std::string>>(pump_, [&](auto done) { directory_.list(std::move(done)); });
  }
  Result<Bytes> read_file(const std::string& name) {
    return wait_for<Bytes>(pump_, [&](auto done) { directory_.read_file(name, std::move(done)); });
  }
  Result<void> replace_file(const std::string& name, std::string_view content) {
    return wait_for<void>(pump_, [&](auto done) { directory_.replace_file(name, to_bytes(as_bytes(content)), std::move(done)); });
  }
  Result<void> write_slot(const std::string& name, std::uint64_t offset, std::string_view content) {
    return wait_for<void>(pump_,
                          [&](auto done) { directory_.write_slot(name, offset, to_bytes(as_bytes(content)), std::move(done)); });
  }
  Result<void> rename(const std::string& from, const std::string& to) {
    return wait_for<void>(pump_, [&](auto done) { directory_.rename(from, to, std::move(done)); });
  }
  Result<void> remove(const std::string& name) {
    return wait_for<void>(pump_, [&](auto done) { directory_.remove(name, std::move(done)); });
  }
  Result<std::unique_ptr<BlockDevice>> create_device(const std::string& name, std::uint64_t size) {
    return wait_for<std::unique_ptr<BlockDevice>>(pump_,
                                                  [&](auto done) { directory_.create_device(name, size, std::move(done)); });
  }
  Result<std::unique_ptr<BlockDevice>> open_device(const std::string& name, bool read_only) {
    return wait_for<std::unique_ptr<BlockDevice>>(pump_,
                                                  [&](auto done) { directory_.open_device(name, read_only, std::move(done)); });
  }

 private:
  Directory& directory_;
  Pump pump_;
};

inline std::string text_of(const Result<Bytes>& content) {
  return content ? std::string(as_text(*content)) : "error: " + content.error().message();
}

template <class T>
std::optional<ErrorKind> kind_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().kind());
}

inline void expect_small_files(BlockingDirectory& directory) {
  EXPECT_EQ(kind_of(directory.read_file("record")), ErrorKind::not_found);
  ASSERT_TRUE(directory.replace_file("record", "first"));
  EXPECT_EQ(text_of(directory.read_file("record")), "first");
  ASSERT_TRUE(directory.replace_file("record", "second, longer"));
  EXPECT_EQ(text_of(directory.read_file("record")), "second, longer");
  ASSERT_TRUE(directory.replace_file("empty", ""));
  EXPECT_EQ(text_of(directory.read_file("empty")), "");

  EXPECT_EQ(kind_of(directory.write_slot("none", 0, "x")), ErrorKind::not_found);
  ASSERT_TRUE(directory.write_slot("record", 7, "slot"));
  EXPECT_EQ(text_of(directory.read_file("record")), "second,slotger");
  ASSERT_TRUE(directory.write_slot("record", 16, "!"));
  EXPECT_EQ(text_of(directory.read_file("record")), std::string("second,slotger\0\0!", 17));
}

inline void expect_names(BlockingDirectory& directory) {
  EXPECT_EQ(directory.list().value(), (std::vector<std::string>{"empty", "record"}));
  EXPECT_EQ(kind_of(directory.rename("record", "empty")), ErrorKind::exists);
  EXPECT_EQ(text_of(directory.read_file("empty")), "");
  EXPECT_EQ(kind_of(directory.rename("none", "other")), ErrorKind::not_found);
  ASSERT_TRUE(directory.rename("record", "renamed"));
  EXPECT_EQ(directory.list().value(), (std::vector<std::string>{"empty", "renamed"}));
  EXPECT_EQ(kind_of(directory.remove("record")), ErrorKind::not_found);
  ASSERT_TRUE(directory.remove("renamed"));
  ASSERT_TRUE(directory.remove("empty"));
  EXPECT_TRUE(directory.list().value().empty());
}

inline void expect_devices(BlockingDirectory& directory, const Pump& pump) {
  EXPECT_EQ(kind_of(directory.open_device("disk", false)), ErrorKind::not_found);
  {
    auto created = directory.create_device("disk", 100'000);
    ASSERT_TRUE(created) << created.error().message();
    EXPECT_EQ((*created)->size(), 100'000u);
    EXPECT_FALSE((*created)->read_only());
    Blocking device(**created, pump);
    EXPECT_TRUE(is_zero(device.read(0, 100'000).value()));
    ASSERT_TRUE(device.write(50'000, as_bytes("kept"), Durability::durable));
  }
  EXPECT_EQ(kind_of(directory.create_device("disk", 1)), ErrorKind::exists);
  auto opened = directory.open_device("disk", true);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE((*opened)->read_only());
  EXPECT_EQ((*opened)->size(), 100'000u);
  Blocking device(**opened, pump);
  EXPECT_EQ(text_of(device.read(50'000, 4)), "kept");
  EXPECT_EQ(kind_of(device.write(0, as_bytes("x"))), ErrorKind::read_only);
  EXPECT_EQ(kind_of(device.zero(0, 1, ZeroMode::may_punch)), ErrorKind::read_only);
  EXPECT_EQ(kind_of(device.discard(0, 1)), ErrorKind::read_only);
  EXPECT_EQ(directory.list().value(), (std::vector<std::string>{"disk"}));
  opened->reset();
  ASSERT_TRUE(directory.remove("disk"));
}

// `directory` is empty, and is so again afterwards.
inline void check_directory(Directory& directory, const Pump& pump) {
  BlockingDirectory blocking(directory, pump);
  ASSERT_TRUE(blocking.list().value().empty());
  expect_small_files(blocking);
  expect_names(blocking);
  expect_devices(blocking, pump);
}

}  // namespace godwit::store::conformance
