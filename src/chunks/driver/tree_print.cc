// print_tree() of tree_archive.h: a visitor that turns nodes into lines.
#include <ctime>

#include "chunks/core/archive_text.h"
#include "chunks/driver/tree_archive.h"

namespace godwit::chunks {
namespace {

class PrintVisitor final : public ArchiveVisitor {
 public:
  PrintVisitor(const TreeTextOptions& options, const std::function<void(std::string_view)>& print)
      : options_(options), print_(print), path_(options.path) {}

  Result<Go> enter(const ArchiveDecoder& decoder) override {
    node_ = decoder.node();
    offset_ = decoder.node_offset();
    const bool is_top = !entered_;
    entered_ = true;
    sizes_.push_back(path_.size());
    if (!is_top) {
      if (!path_.empty()) path_ += '/';
      path_ += decoder.name();
    }
    if (node_.is_directory()) {
      tell();
      return options_.form == TreeText::stat ? Go::stop : Go::on;
    }
    if (options_.form != TreeText::list) {
      const Digest digest = digest_of(node_.features);
      payload_.emplace(digest);
      if (options_.form == TreeText::stat) {
        all_.emplace(digest);
        all_->update(decoder.node_head());
      }
    }
    return Go::on;
  }

  Result<void> payload(ConstBytes bytes) override {
    if (payload_) payload_->update(bytes);
    if (all_) all_->update(bytes);
    return {};
  }

  Result<Go> leave(const ArchiveDecoder&) override {
    if (!node_.is_directory()) tell();
    path_.resize(sizes_.back());
    sizes_.pop_back();
    node_.mode = S_IFDIR;  // what is left next, unless a node is entered before
    return Go::on;
  }

 private:
  void tell() {
    if (!options_.recursive && sizes_.size() > 2) return;
    const std::string path = path_.empty() ? "." : path_;
    std::optional<ChunkId> payload;
    if (payload_ && node_.is_regular()) payload = payload_->finish();
    payload_.reset();
    switch (options_.form) {
      case TreeText::list: return print_(list_line(node_, path) + "\n");
      case TreeText::mtree: return print_(mtree_line(node_, path, payload) + "\n");
      case TreeText::stat: break;
    }
    StatFacts facts{path, offset_, payload, std::nullopt, options_.of_folder, local_time()};
    if (all_) facts.hardlink_digest = all_->finish();
    print_(stat_block(node_, facts));
  }

  std::string local_time() const {
    constexpr std::int64_t kSecond = 1'000'000'000;
    const std::int64_t rest = (node_.mtime_ns % kSecond + kSecond) % kSecond;
    const std::time_t seconds = (node_.mtime_ns - rest) / kSecond;
    std::tm local{};
    ::localtime_r(&seconds, &local);
    char text[64];
    return {text, std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local)};
  }

  const TreeTextOptions& options_;
  const std::function<void(std::string_view)>& print_;
  std::string path_;
  std::vector<std::size_t> sizes_;  // of path_, outside of each open node
  bool entered_ = false;
  Node node_;
  std::uint64_t offset_ = 0;
  std::optional<DigestStream> payload_;
  std::optional<DigestStream> all_;
};

}  // namespace

Result<void> print_tree(ArchiveStream& source, const ArchiveDecoderOptions& decoder, const TreeTextOptions& options,
                        const std::function<void(std::string_view)>& print) {
  PrintVisitor visitor(options, print);
  return visit_archive(source, decoder, visitor);
}

}  // namespace godwit::chunks
