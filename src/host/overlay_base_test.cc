// Overlays whose base is remembered: found again after a start, refused when it is another image, named anew when it has moved;
// those that another program left, with its list of blocks; and copies whose pull was interrupted. On real folders.
#include "host/overlay_base.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "host/base_file.h"
#include "host/host_bench_test.h"
#include "volume/core/record.h"

namespace godwit::host {
namespace {

constexpr std::uint64_t kSize = 200000;  // three blocks and a short one

std::string content(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void put(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class OverlayBaseTest : public testing::Test {
 protected:
  OverlayBaseTest() { put(base, image('b')); }
  static std::string image(char c) { return std::string(kSize, c); }
  static std::string overlay_on(const std::string& path, std::string_view verb = "create") {
    const std::string volume = R"("name":"guest","kind":"overlay","base":")" + path + "\"";
    if (verb == "create") return R"({"verb":"create",)" + volume + "}";
    return R"({"verb":"serve","volumes":[{)" + volume + "}]}";
  }
  std::string note(const Host& host) const { return host.volumes() + "/guest.cow.base"; }
  // A guest with one block of its own, closed.
  void make_guest(Host& host) {
    const Result<json::object> made = host.perform(overlay_on(base));
    ASSERT_TRUE(made) << made.error().message();
    ASSERT_TRUE(host.write("guest", 70000, "own"));
    host.stop();
    host.start();
  }
  static std::string served() { return std::string(70000, 'b') + "own" + std::string(kSize - 70003, 'b'); }

  static constexpr std::string_view kServe = R"({"verb":"serve","volumes":[{"name":"guest"}]})";
  TemporaryFolder folder;
  net::EventLoop loop;
  std::string base = folder / "base.img";
};

TEST_F(OverlayBaseTest, IsFoundAgainWithoutBeingNamed) {
  Host host(loop, folder / "a");
  make_guest(host);
  ASSERT_TRUE(host.perform(kServe));
  EXPECT_EQ(host.read("guest", 0, kSize), served());
  host.again();
  EXPECT_EQ(host.read("guest", 0, kSize), served());
  const Result<BaseFile> noted = decode_base_file(as_bytes(content(note(host))));
  ASSERT_TRUE(noted);
  EXPECT_EQ(noted->path, base);
}

TEST_F(OverlayBaseTest, AChangedBaseIsRefusedAndNothingElseChanges) {
  std::string one_byte = image('b');
  one_byte.back() = 'c';
  const struct {
    std::string_view name;
    std::string now;
    std::string_view said;
  } rows[] = {
      {"one byte", one_byte, "is not the image that the overlay was written over: its blocks hash to"},
      {"longer", image('b') + "b", "it has 200001 bytes, that had 200000"},
      {"shorter", image('b').substr(1), "it has 199999 bytes, that had 200000"},
  };
  Host host(loop, folder / "a");
  make_guest(host);
  const std::string before = content(note(host));
  for (const auto& row : rows) {
    put(base, row.now);
    EXPECT_EQ(host.refusal(kServe), ErrorKind::refused) << row.name;
    EXPECT_NE(host.complaint(kServe).find(row.said), std::string::npos) << row.name << ": " << host.complaint(kServe);
    EXPECT_EQ(host.refusal(overlay_on(base, "serve")), ErrorKind::refused) << row.name << ": naming it makes it no better";
    host.again();
    EXPECT_EQ(host.state_of("guest"), "") << row.name;
    EXPECT_EQ(content(note(host)), before) << row.name;
  }
  put(base, image('b'));  // the old bytes, at another time
  ASSERT_TRUE(host.perform(kServe));
  EXPECT_EQ(host.read("guest", 0, kSize), served());
}

TEST_F(OverlayBaseTest, ABaseThatHasMovedIsNamedOnce) {
  Host host(loop, folder / "a");
  make_guest(host);
  std::filesystem::rename(base, folder / "elsewhere.img");
  EXPECT_EQ(host.refusal(kServe), ErrorKind::not_found);
  EXPECT_NE(host.complaint(kServe).find("say by --base where it is"), std::string::npos) << host.complaint(kServe);
  ASSERT_TRUE(host.perform(overlay_on(folder / "elsewhere.img", "serve")));
  host.again();
  EXPECT_EQ(host.read("guest", 0, kSize), served());
}

TEST_F(OverlayBaseTest, ANoteOfVersionOneWantsTheBaseNamedOnceAndKnowsItsHash) {
  Host host(loop, folder / "a");
  make_guest(host);
  // What the version before wrote: no path.
  std::string old = content(note(host)).substr(0, 64);
  old[8] = 1;
  const std::uint32_t checksum = crc32c(as_bytes(old));
  for (int i = 0; i < 4; ++i) old += static_cast<char>(checksum >> 8 * i);
  put(note(host), old);
  EXPECT_EQ(host.refusal(kServe), ErrorKind::usage);
  put(folder / "other.img", image('o'));
  EXPECT_EQ(host.refusal(overlay_on(folder / "other.img", "serve")), ErrorKind::refused);
  EXPECT_EQ(content(note(host)), old);
  ASSERT_TRUE(host.perform(overlay_on(base, "serve")));
  host.again();
  EXPECT_EQ(host.read("guest", 0, kSize), served());
}

TEST_F(OverlayBaseTest, ADamagedNoteWantsTheBaseNamedAndANewerOneIsLeftAlone) {
  Host host(loop, folder / "a");
  make_guest(host);
  const std::string good = content(note(host));
  std::string damaged = good, newer = good;
  damaged[40] ^= 1;
  newer[8] = 3;
  put(note(host), newer);
  EXPECT_EQ(host.refusal(kServe), ErrorKind::unsupported);
  EXPECT_EQ(host.refusal(overlay_on(base, "serve")), ErrorKind::unsupported);
  EXPECT_EQ(content(note(host)), newer);
  put(note(host), damaged);
  EXPECT_EQ(host.refusal(kServe), ErrorKind::corrupt);
  ASSERT_TRUE(host.perform(overlay_on(base, "serve")));
  EXPECT_EQ(content(note(host)), good);
  host.stop();
  host.start();
  std::filesystem::remove(note(host));
  EXPECT_EQ(host.refusal(kServe), ErrorKind::usage) << "nobody says what it lies on";
  ASSERT_TRUE(host.perform(overlay_on(base, "serve")));
  EXPECT_EQ(content(note(host)), good);
}

// --- overlays of others ---

// An overlay file as the original keeps one, with blocks 1 and 3 in it, in a folder of its own.
struct OriginalsOverlay {
  explicit OriginalsOverlay(std::string where) : folder(std::move(where)) {
    std::filesystem::create_directory(folder);
    std::string bytes(kSize, '\0');
    bytes.replace(65536, 65536, std::string(65536, '1'));
    bytes.replace(3 * 65536, kSize - 3 * 65536, std::string(kSize - 3 * 65536, '3'));
    put(folder + "/guest", bytes);
  }
  void list(std::initializer_list<std::uint32_t> blocks) const {
    std::string bytes;
    for (const std::uint32_t block : blocks)
      for (int i = 0; i < 4; ++i) bytes += static_cast<char>(block >> 8 * i);
    put(folder + "/guest.state", bytes);
  }
  std::string serve(const std::string& base) const {
    const std::string kind = base.empty() ? "" : R"(,"kind":"overlay","base":")" + base + "\"";
    return R"({"verb":"serve","volumes":[{"path":")" + folder + "/guest\"" + kind + "}]}";
  }
  bool has(std::string_view ending) const { return std::filesystem::exists(folder + "/guest" + std::string(ending)); }
  std::string folder;
};

TEST_F(OverlayBaseTest, AnOverlayOfTheOriginalsBecomesAVolumeByItsListOfBlocks) {
  const OriginalsOverlay original(folder / "images");
  original.list({3, 1});
  Host host(loop, folder / "a");
  const Result<json::object> adopted = host.perform(original.serve(base));
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_EQ(adopted->at("volumes").at(0).at("how"), "adopted");
  EXPECT_EQ(adopted->at("volumes").at(0).at("kind"), "overlay");
  std::string expected = image('b');
  expected.replace(65536, 65536, std::string(65536, '1'));
  expected.replace(3 * 65536, kSize - 3 * 65536, std::string(kSize - 3 * 65536, '3'));
  EXPECT_EQ(host.read("guest", 0, kSize), expected);
  ASSERT_TRUE(host.write("guest", 10, "new"));
  expected.replace(10, 3, "new");
  host.stop();
  EXPECT_EQ(content(original.folder + "/guest.state"), std::string("\0\0\0\0\1\0\0\0\3\0\0\0", 12))
      << "for the original to go on";
  EXPECT_EQ(content(base), image('b'));
  host.start();
  ASSERT_TRUE(host.perform(original.serve(""))) << "by its record and its note";
  EXPECT_EQ(host.read("guest", 0, kSize), expected);
}

TEST_F(OverlayBaseTest, WithoutAnythingThatNamesItsBlocksOrAgainstItNoFileIsTakenForAnOverlay) {
  const OriginalsOverlay original(folder / "images");
  Host host(loop, folder / "a");
  EXPECT_EQ(host.refusal(original.serve(base)), ErrorKind::refused);
  original.list({4});
  EXPECT_EQ(host.refusal(original.serve(base)), ErrorKind::invalid) << "a block past the end";
  put(original.folder + "/guest.state", "12345");
  EXPECT_FALSE(host.perform(original.serve(base))) << "not whole numbers";
  original.list({1, 3});
  put(folder / "short.img", "b");
  EXPECT_EQ(host.refusal(original.serve(folder / "short.img")), ErrorKind::invalid) << "a base of another size";
  for (const std::string_view ending : {".own", ".cow", ".cow.base"}) EXPECT_FALSE(original.has(ending)) << ending;

  ASSERT_TRUE(host.perform(original.serve(base)));
  host.stop();
  host.start();
  std::filesystem::remove(original.folder + "/guest.own");  // as after a purge by hand
  EXPECT_EQ(host.refusal(original.serve("")), ErrorKind::refused) << "as a plain file its blocks would be zeros";
  put(folder / "other.img", image('o'));
  EXPECT_EQ(host.refusal(original.serve(folder / "other.img")), ErrorKind::refused) << "not what it was laid on";
  EXPECT_TRUE(host.perform(original.serve(base)));
}

// --- copies ---

class OverlayCopyTest : public OverlayBaseTest {
 protected:
  OverlayCopyTest() : a(loop, folder / "a"), b(loop, folder / "b") {
    put(base_at_b, image('b'));
    EXPECT_TRUE(a.perform(overlay_on(base)));
    EXPECT_TRUE(a.write("guest", 70000, "own"));
  }
  std::string pull(std::string_view more = "") { return b.pull_from(a, R"(,"names":["guest"])" + std::string(more)); }
  std::string pull_over(const std::string& image) { return pull(R"(,"base":")" + image + "\""); }
  // The volume is at B, an overlay, and comes back to A; B's copy then stands as a crash in the middle of pulling it once more
  // would have left it: in this state.
  void leave_unfinished(volume::CopyState state) {
    const Result<json::object> pulled = b.perform(pull_over(base_at_b));
    ASSERT_TRUE(pulled) << pulled.error().message();
    ASSERT_TRUE(a.perform(a.pull_from(b, R"(,"names":["guest"])")));
    ASSERT_TRUE(b.run_until([&] { return b.process().host().find("guest")->ownership().durable_record().heard; }));
    b.stop();
    const std::string path = b.volumes() + "/guest.own";
    volume::Record record = volume::decode_record_file(as_bytes(content(path))).value();
    ASSERT_EQ(record.state, volume::CopyState::relinquished);
    ASSERT_EQ(record.kind, volume::Record::Kind::overlay);
    record.state = state;
    record.heard = record.relaying = false;
    record.peer.reset();
    if (state == volume::CopyState::receiving) record.h.reset();
    ++record.gen;
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(volume::slot_offset(record.gen)));
    file << as_text(volume::encode_slot(record));
    file.close();
    b.start();
  }

  std::string base_at_b = folder / "base-b.img";
  Host a, b;
};

TEST_F(OverlayCopyTest, AnInterruptedPullIsBegunAgainWithoutNamingTheBase) {
  leave_unfinished(volume::CopyState::receiving);
  ASSERT_TRUE(a.write("guest", 0, "news"));
  const Result<json::object> again = b.perform(pull());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(b.state_of("guest"), "OWNED");
  EXPECT_EQ(b.read("guest", 0, kSize), "news" + served().substr(4));
  EXPECT_EQ(content(base_at_b), image('b'));
  b.again();
  EXPECT_EQ(b.read("guest", 0, kSize), "news" + served().substr(4));
}

TEST_F(OverlayCopyTest, AnInterruptedPullIsBegunAgainOnWhateverTheBaseIsNow) {
  leave_unfinished(volume::CopyState::receiving);
  put(base_at_b, image('o'));
  const Result<json::object> again = b.perform(pull());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(b.read("guest", 0, kSize), served()) << "every block travelled";
  EXPECT_EQ(content(base_at_b), image('o'));
  b.again();
  EXPECT_EQ(b.read("guest", 0, kSize), served());
}

TEST_F(OverlayCopyTest, ACopyThatMayBeOwnedAlreadyIsRefusedOnAChangedBase) {
  leave_unfinished(volume::CopyState::ready);
  put(base_at_b, image('o'));
  EXPECT_EQ(b.refusal(pull()), ErrorKind::refused);
  EXPECT_NE(b.complaint(pull()).find("is not the image that the overlay was written over"), std::string::npos)
      << b.complaint(pull());
  EXPECT_EQ(b.state_of("guest"), "");
  put(base_at_b, image('b'));
  const Result<json::object> again = b.perform(pull());
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(b.read("guest", 0, kSize), served());
}

TEST_F(OverlayCopyTest, ARefusedPullLeavesNoFileOfTheOverlay) {
  put(folder / "short.img", "b");
  EXPECT_FALSE(b.perform(pull_over(folder / "short.img")));
  EXPECT_TRUE(std::filesystem::is_empty(b.volumes()));
}

TEST_F(OverlayCopyTest, ARemovedOverlayLeavesNoFileOfIts) {
  ASSERT_TRUE(b.perform(pull_over(base_at_b)));
  ASSERT_TRUE(b.perform(R"({"verb":"remove","name":"guest","yes":true})"));
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::directory_iterator(b.volumes())) left.push_back(entry.path().filename().string());
  EXPECT_EQ(left, std::vector<std::string>{"guest.own"});
}

}  // namespace
}  // namespace godwit::host
