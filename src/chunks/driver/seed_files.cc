#include "chunks/driver/seed_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/cursor.h"
#include "base/hash.h"
#include "chunks/driver/seed_file.h"
#include "chunks/driver/tree_walker.h"

namespace godwit::chunks {
namespace {

// A smaller file is written sooner than one that only lies at the same place is compared.
constexpr std::uint64_t kSamePathBytesMin = std::uint64_t{64} << 10;

// Files with the same key that are alike in nothing else only cost a comparison.
std::uint64_t key_of(ConstBytes bytes) {
  const Sha256 digest = sha256(bytes);
  std::uint64_t key = 0;
  std::memcpy(&key, digest.data(), sizeof key);
  return key;
}

}  // namespace

SeedFiles::SeedFiles(FeatureFlags features, bool with_twins)
    : features_(with_twins ? features : features & feature::kModes), with_twins_(with_twins) {}

std::uint64_t SeedFiles::content_key(const Node& node, ConstBytes beginning) {
  Bytes bytes;
  Writer(bytes).u64_le(node.payload_size);
  append(bytes, beginning);
  return key_of(bytes);
}

std::uint64_t SeedFiles::twin_key(const Node& node, ConstBytes beginning) {
  Bytes bytes;
  append_node_head(bytes, node);
  append(bytes, beginning);
  return key_of(bytes);
}

Result<void> SeedFiles::add_folder(const std::string& path) {
  Descriptor top(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top.is_open()) return fail(errno_error("open seed", path));
  Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(path, {features_, {}});
  Bytes beginning;
  // The walk ends with the top's own leave.
  for (std::size_t depth = 0; walker;) {
    const Result<ArchiveTree::Step> step = (*walker)->next();
    if (!step) return fail(Error(step.error()).within("seed"));
    const Node& node = (*walker)->node();
    if (*step == ArchiveTree::Step::leave) {
      if (--depth == 0) break;
      continue;
    }
    if (node.is_directory()) ++depth;
    if (!node.is_regular()) continue;
    beginning.resize(std::min(node.payload_size, kBeginningBytes));
    if (Result<void> read = (*walker)->read_payload(beginning); !read) return fail(std::move(read).error().within("seed"));
    by_content_.push_back({content_key(node, beginning), files_.size()});
    if (with_twins_ && check_node(node)) by_twin_.push_back({twin_key(node, beginning), files_.size()});
    files_.push_back({folders_.size(), (*walker)->path()});
  }
  if (!walker) return fail(std::move(walker).error().within("seed"));
  folders_.push_back(std::move(top));
  std::ranges::sort(by_content_);
  std::ranges::sort(by_twin_);
  return {};
}

Descriptor SeedFiles::open(std::size_t folder, const std::string& path) const {
  return open_seed_file(folders_[folder].get(), path);
}

std::vector<Descriptor> SeedFiles::twins_of(const Node& node, ConstBytes beginning) const {
  std::vector<Descriptor> twins;
  if (!with_twins_ || !check_node(node)) return twins;
  const std::uint64_t key = twin_key(node, beginning.first(std::min<std::uint64_t>(beginning.size(), kBeginningBytes)));
  const auto found = std::ranges::equal_range(by_twin_, key, {}, &Entry::key);
  for (const Entry& entry : found) {
    if (twins.size() == kTwinsMax) break;
    Descriptor twin = open(files_[entry.file].folder, files_[entry.file].path);
    if (twin.is_open()) twins.push_back(std::move(twin));
  }
  return twins;
}

Descriptor SeedFiles::alike(const Node& node, ConstBytes beginning, std::string_view path) const {
  const std::uint64_t key = content_key(node, beginning.first(std::min<std::uint64_t>(beginning.size(), kBeginningBytes)));
  const auto found = std::ranges::equal_range(by_content_, key, {}, &Entry::key);
  // Of several that begin alike, the one of the same name is the likeliest.
  const auto same = std::ranges::find_if(found, [&](const Entry& entry) { return files_[entry.file].path == path; });
  if (same != found.end())
    if (Descriptor file = open(files_[same->file].folder, files_[same->file].path); file.is_open()) return file;
  std::size_t tries = 0;
  for (const Entry& entry : found) {
    if (++tries > kTwinsMax) break;
    if (Descriptor file = open(files_[entry.file].folder, files_[entry.file].path); file.is_open()) return file;
  }
  if (node.payload_size < kSamePathBytesMin) return {};
  for (std::size_t folder = 0; folder < folders_.size(); ++folder)
    if (Descriptor file = open(folder, std::string(path)); file.is_open()) return file;
  return {};
}

std::optional<Node> read_file_node(int descriptor, AttributeReader& reader) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  const Result<FileSystemTraits> traits = traits_of_file_system(descriptor);
  if (!traits || traits->is_api) return std::nullopt;
  Result<Node> node = reader.read(descriptor, status, *traits, reader.wants_chattr() ? read_chattr(descriptor) : 0);
  if (!node) return std::nullopt;
  node->payload_size = static_cast<std::uint64_t>(status.st_size);
  return std::move(*node);
}

}  // namespace godwit::chunks
