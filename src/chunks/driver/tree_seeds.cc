#include "chunks/driver/tree_seeds.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "chunks/driver/tree_attributes.h"
#include "chunks/driver/tree_walker.h"

namespace godwit::chunks {
namespace {

constexpr std::size_t kPieceSize = std::size_t{256} << 10;
// Files of one size that are looked at for one file of the archive.
constexpr std::size_t kCandidatesMax = 64;

std::int64_t change_time(const struct stat& status) {
  return std::int64_t{status.st_ctim.tv_sec} * 1'000'000'000 + status.st_ctim.tv_nsec;
}

std::optional<ChunkId> digest_of_file(int descriptor, std::uint64_t size, Digest digest) {
  DigestStream stream(digest);
  Bytes piece(kPieceSize);
  for (std::uint64_t at = 0; at < size;) {
    const ssize_t count = ::pread(descriptor, piece.data(), piece.size(), static_cast<off_t>(at));
    if (count <= 0) return std::nullopt;
    stream.update(ConstBytes(piece).first(static_cast<std::size_t>(count)));
    at += static_cast<std::uint64_t>(count);
  }
  return stream.finish();
}

}  // namespace

Result<void> TreeSeeds::load(FeatureFlags features) {
  features_ = features;
  for (const std::string& folder : folders_) {
    // Only names, kinds and sizes are wanted.
    Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(folder, {});
    if (!walker) return fail(std::move(walker).error().within("seed"));
    for (std::size_t depth = 0;;) {
      const Result<ArchiveTree::Step> step = (*walker)->next();
      if (!step) return fail(step.error().within("seed"));
      const Node& node = (*walker)->node();
      if (*step == ArchiveTree::Step::leave && --depth == 0) break;
      if (*step == ArchiveTree::Step::leave) continue;
      if (node.is_directory()) ++depth;
      if (node.is_regular()) files_[node.payload_size].push_back({folder + "/" + (*walker)->path(), std::nullopt, 0});
    }
  }
  return {};
}

std::optional<Descriptor> TreeSeeds::find(std::uint64_t size, const ChunkId& payload) {
  const auto files = files_.find(size);
  if (files == files_.end()) return std::nullopt;
  std::size_t looked_at = 0;
  for (File& file : files->second) {
    if (file.payload && *file.payload != payload) continue;
    if (++looked_at > kCandidatesMax) break;
    if (std::optional<Descriptor> found = open_if_same(file, size, payload)) return found;
  }
  return std::nullopt;
}

std::optional<Descriptor> TreeSeeds::open_if_same(File& file, std::uint64_t size, const ChunkId& payload) {
  Descriptor descriptor(::open(file.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat before{};
  if (!descriptor.is_open() || ::fstat(descriptor.get(), &before) != 0) return std::nullopt;
  if (!S_ISREG(before.st_mode) || static_cast<std::uint64_t>(before.st_size) != size) return std::nullopt;
  if (!file.payload || file.changed_ns != change_time(before)) {
    file.payload = digest_of_file(descriptor.get(), size, digest_of(features_));
    file.changed_ns = change_time(before);
    struct stat after{};
    if (::fstat(descriptor.get(), &after) != 0 || change_time(after) != file.changed_ns) file.payload.reset();
  }
  if (!file.payload || *file.payload != payload) return std::nullopt;
  return descriptor;
}

bool TreeSeeds::is_same_node(int descriptor, const Node& node) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return false;
  const Result<FileSystemTraits> traits = traits_of_file_system(descriptor);
  if (!traits) return false;
  AttributeReader reader(node.features, shift_);
  Result<Node> present = reader.read(descriptor, status, *traits, read_chattr(descriptor));
  if (!present) return false;
  present->payload_size = node.payload_size;
  return *present == node;
}

}  // namespace godwit::chunks
