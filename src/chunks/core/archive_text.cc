#include "chunks/core/archive_text.h"

#include <fmt/format.h>

namespace godwit::chunks {
namespace {

struct FlagLetter {
  FeatureFlags flag;
  char letter;
};

constexpr FlagLetter kChattrLetters[] = {
    {feature::kFlagSync, 'S'},   {feature::kFlagDirSync, 'D'},     {feature::kFlagImmutable, 'i'}, {feature::kFlagAppend, 'a'},
    {feature::kFlagNoDump, 'd'}, {feature::kFlagNoAtime, 'A'},     {feature::kFlagCompr, 'c'},     {feature::kFlagNoComp, 'N'},
    {feature::kFlagNoCow, 'C'},  {feature::kFlagProjInherit, 'P'},
};
constexpr FlagLetter kFatLetters[] = {{feature::kFlagHidden, 'h'}, {feature::kFlagSystem, 's'}, {feature::kFlagArchive, 'a'}};

struct FlagWord {
  FeatureFlags flag;
  std::string_view word;
};
constexpr FlagWord kMtreeWords[] = {
    {feature::kFlagHidden, "hidden"},  {feature::kFlagSystem, "system"}, {feature::kFlagArchive, "archive"},
    {feature::kFlagAppend, "sappend"}, {feature::kFlagNoDump, "nodump"}, {feature::kFlagImmutable, "simmutable"},
};

template <std::size_t N>
std::string letters(const FlagLetter (&known)[N], FeatureFlags flags) {
  std::string text;
  for (const FlagLetter& flag : known) text += (flags & flag.flag) != 0 ? flag.letter : '-';
  return text;
}

std::string_view mtree_type(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return "dir";
    case S_IFREG: return "file";
    case S_IFLNK: return "link";
    case S_IFCHR: return "char";
    case S_IFBLK: return "block";
    case S_IFIFO: return "fifo";
    case S_IFSOCK: return "socket";
    default: return "unknown";
  }
}

char type_letter(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR: return 'd';
    case S_IFLNK: return 'l';
    case S_IFCHR: return 'c';
    case S_IFBLK: return 'b';
    case S_IFIFO: return 'p';
    case S_IFSOCK: return 's';
    default: return '-';
  }
}

bool has_numbers(const Node& node) {
  return (node.features & feature::kUidBits) != 0;
}
bool has_names(const Node& node) {
  return (node.features & feature::kUserNames) != 0;
}

// What the archive says of an owner's name: it leaves root's out.
std::string_view name_told(const Node& node, std::uint64_t id, const std::string& name) {
  if (!has_names(node)) return {};
  if (!name.empty()) return name;
  return id == 0 ? std::string_view("root") : std::string_view{};
}

std::string mtree_owner(const Node& node) {
  std::string text;
  if (has_numbers(node)) text += fmt::format(" uid={} gid={}", node.uid, node.gid);
  if (const std::string_view name = name_told(node, node.uid, node.user_name); !name.empty())
    text += fmt::format(" uname={}", octal_escaped(name));
  if (const std::string_view name = name_told(node, node.gid, node.group_name); !name.empty())
    text += fmt::format(" gname={}", octal_escaped(name));
  return text;
}

// Nodes that have no flags are said to have all of them, as the original does.
std::string mtree_flags(const Node& node) {
  std::string text;
  for (const FlagWord& known : kMtreeWords) {
    if ((node.features & known.flag) == 0) continue;
    const bool is_set = !node.has_flags() || (node.flags & known.flag) != 0;
    text += fmt::format("{}{}{}", text.empty() ? " flags=" : ",", is_set ? "" : "no", known.word);
  }
  return text;
}

struct Seconds {
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;  // never negative
};
Seconds split(std::int64_t nanoseconds) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t rest = (nanoseconds % kSecond + kSecond) % kSecond;
  return {(nanoseconds - rest) / kSecond, rest};
}

std::string stat_owner(std::string_view label, const Node& node, std::uint64_t id, const std::string& name) {
  if (!has_numbers(node) && !has_names(node)) return {};
  const std::string_view told = name_told(node, id, name);
  if (told.empty()) return fmt::format("{}: {}\n", label, id);
  return fmt::format("{}: {} ({})\n", label, octal_escaped(told), id);
}

}  // namespace

std::string octal_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= ' ' || byte >= 0x7f || c == '\\' || c == '#')
      out += fmt::format("\\{:03o}", byte);
    else
      out += c;
  }
  return out;
}

std::string mode_text(std::uint32_t mode) {
  std::string text(1, type_letter(mode));
  struct Triple {
    unsigned shift;
    std::uint32_t special;
    char set;
    char set_alone;
  };
  for (const Triple& triple : {Triple{6, S_ISUID, 's', 'S'}, Triple{3, S_ISGID, 's', 'S'}, Triple{0, S_ISVTX, 't', 'T'}}) {
    const std::uint32_t bits = mode >> triple.shift;
    const bool runs = (bits & 1) != 0;
    text += (bits & 4) != 0 ? 'r' : '-';
    text += (bits & 2) != 0 ? 'w' : '-';
    // The original shows a file's sticky bit not at all.
    const bool is_special = (mode & triple.special) != 0 && (triple.special != S_ISVTX || S_ISDIR(mode));
    text += is_special ? (runs ? triple.set : triple.set_alone) : runs ? 'x' : '-';
  }
  return text;
}

std::string list_line(const Node& node, std::string_view path) {
  return fmt::format("{} {}", mode_text(node.mode), octal_escaped(path));
}

std::string mtree_line(const Node& node, std::string_view path, const std::optional<ChunkId>& digest) {
  std::string line = fmt::format("{} type={} mode={:04o}", octal_escaped(path), mtree_type(node.mode), node.mode & 07777);
  if (node.is_regular()) line += fmt::format(" size={}", node.payload_size);
  if (node.is_symlink()) line += fmt::format(" link={}", octal_escaped(node.symlink_target));
  if (node.is_device()) line += fmt::format(" device=linux,{},{}", node.device_major, node.device_minor);
  line += mtree_owner(node);
  line += mtree_flags(node);
  if ((node.features & feature::kTimeBits) != 0) {
    const Seconds time = split(node.mtime_ns);
    line += fmt::format(" time={}.{:09}", time.seconds, time.nanoseconds);
  }
  if (digest)
    line += fmt::format(" {}digest={}", digest_of(node.features) == Digest::sha512_256 ? "sha512256" : "sha256", digest->hex());
  return line;
}

std::string stat_block(const Node& node, const StatFacts& facts) {
  std::string text = fmt::format("    File: {}\n    Mode: {}\n", octal_escaped(facts.path), mode_text(node.mode));
  if (node.has_flags())
    text += fmt::format("FileAttr: {}\n FATAttr: {}\n", letters(kChattrLetters, node.flags), letters(kFatLetters, node.flags));
  text += fmt::format("  Offset: {}\n", facts.offset);
  if ((node.features & feature::kTimeBits) != 0)
    text += fmt::format("    Time: {}.{:09}\n", facts.time, split(node.mtime_ns).nanoseconds);
  if (node.is_regular()) text += fmt::format("    Size: {}\n", node.payload_size);
  text += stat_owner("    User", node, node.uid, node.user_name);
  text += stat_owner("   Group", node, node.gid, node.group_name);
  const bool may_have_project = (node.features & feature::kQuotaProjectId) != 0 && node.has_flags();
  if (node.quota_project_id != 0 || (facts.tells_project && may_have_project))
    text += fmt::format("  ProjID: {}\n", node.quota_project_id);
  if (node.is_symlink()) text += fmt::format("  Target: {}\n", octal_escaped(node.symlink_target));
  if (node.is_device()) text += fmt::format("  Device: {}:{}\n", node.device_major, node.device_minor);
  for (const Xattr& xattr : node.xattrs)
    text += fmt::format("   XAttr: {} → {}\n", octal_escaped(xattr.name), octal_escaped(as_text(xattr.value)));
  if (facts.payload_digest) text += fmt::format("  Digest: {}\n", facts.payload_digest->hex());
  if (facts.hardlink_digest) text += fmt::format("HLDigest: {}\n", facts.hardlink_digest->hex());
  return text;
}

}  // namespace godwit::chunks
