// A client of the remote protocol for tests/interop/casync_remote.sh, so that every operation can be tried by itself:
//   casync_test_client pull-index|pull-archive REMOTE OUTPUT
//   casync_test_client pull-chunks REMOTE_STORE INDEX OUTPUT          the blob of a local index
//   casync_test_client pull-both REMOTE_INDEX REMOTE_STORE OUTPUT
//   casync_test_client push-index|push-archive FILE REMOTE
//   casync_test_client push-both INDEX LOCAL_STORE REMOTE_INDEX REMOTE_STORE
//   casync_test_client push-chunks LOCAL_STORE REMOTE_STORE           which is refused
// REMOTE is [user@]host:path. Peers are started as `casync` does it (CASYNC_SSH_PATH, CASYNC_REMOTE_PATH).
#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "chunks/core/index.h"
#include "chunks/driver/remote_process.h"
#include "chunks/driver/remote_transfer.h"
#include "store/directory_blobs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

[[noreturn]] void die(const Error& error) {
  fmt::print(stderr, "casync_test_client: {}\n", error.message());
  std::exit(1);
}
template <class T>
T must(Result<T> result) {
  if (!result) die(result.error());
  return std::move(*result);
}

Bytes read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) die(Error(ErrorKind::not_found, path));
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return to_bytes(as_bytes(text));
}
void write_file(const std::string& path, ConstBytes bytes) {
  std::ofstream(path, std::ios::binary) << as_text(bytes);
}

class Client {
 public:
  RemoteConnector connector(HelloFlags wants, RemoteOperands operands) {
    return connect_by_command(loop_, must(remote_command(wants, operands, remote_programs_of_environment())));
  }

  void pull_file(HelloFlags wants, const RemoteOperands& operands, const std::string& output) {
    Bytes bytes;
    const auto file = wants == hello::kPullIndex ? wire::File::index : wire::File::archive;
    const auto sink = [&](ConstBytes piece) -> Result<void> {
      append(bytes, piece);
      return {};
    };
    const auto transfer = must(pull_from_remote(loop_, must(connector(wants, operands)()), file, sink, done()));
    finish();
    write_file(output, bytes);
  }

  void push_file(HelloFlags wants, const RemoteOperands& operands, const std::string& path, const std::string& store) {
    std::unique_ptr<store::BlobStore> blobs;
    RemoteUpload upload{wants, path, {}};
    if (!store.empty()) blobs = must(store::make_directory_blobs(store, false, *workers_, loop_));
    if (blobs) upload.stores.push_back(blobs.get());
    const auto transfer = must(push_to_remote(loop_, *workers_, must(connector(wants, operands)()), upload, done()));
    finish();
  }

  void pull_chunks(HelloFlags wants, const RemoteOperands& operands, std::optional<Bytes> index_file, const std::string& output) {
    const auto store = make_remote_store("the remote", connector(wants, operands), loop_, *workers_);
    if (!index_file) {
      index_file.emplace();
      const auto sink = [&](ConstBytes piece) -> Result<void> {
        append(*index_file, piece);
        return {};
      };
      store->fetch_index(sink, [&](Result<void> result) {
        if (!result) die(result.error());
        fetch_all(*store, *index_file);
      });
    } else {
      fetch_all(*store, *index_file);
    }
    finish();
    write_file(output, blob_);
  }

 private:
  void fetch_all(RemoteStore& store, ConstBytes index_file) {
    index_ = must(decode_index(index_file));
    blob_.resize(index_.blob_size());
    left_ = index_.entries.size();
    if (left_ == 0) store.close(done());
    for (std::size_t i = 0; i < index_.entries.size(); ++i)
      store.get(index_.entries[i].id, index_.header.digest(), index_.header.sizes.max, [this, i, &store](Result<Bytes> chunk) {
        const Bytes bytes = must(std::move(chunk));
        if (bytes.size() != index_.length_of(i)) die(Error(ErrorKind::corrupt, "a chunk of another length"));
        std::ranges::copy(bytes, blob_.begin() + static_cast<std::ptrdiff_t>(index_.start_of(i)));
        if (--left_ == 0) store.close(done());
      });
  }
  net::Done<void> done() {
    return [this](Result<void> result) { result_ = std::move(result); };
  }
  void finish() {
    loop_.run();
    if (!result_) die(Error(ErrorKind::cancelled, "it did not end"));
    if (!*result_) die(result_->error());
  }

  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::optional<Result<void>> result_;
  Index index_;
  Bytes blob_;
  std::size_t left_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() < 3) die(Error(ErrorKind::usage, "too few words"));
  const std::string& verb = words[0];
  Client client;
  const auto place = [&](std::size_t i) { return must(parse_remote_locator(words.at(i))); };
  const RemoteLocator first = place(1), second = place(2);
  if (verb == "pull-index") client.pull_file(hello::kPullIndex, {nullptr, &first, nullptr, {}}, words[2]);
  if (verb == "pull-archive") client.pull_file(hello::kPullArchive, {&first, nullptr, nullptr, {}}, words[2]);
  if (verb == "pull-chunks")
    client.pull_chunks(hello::kPullChunks, {nullptr, nullptr, &first, {}}, read_file(words[2]), words.at(3));
  if (verb == "pull-both") client.pull_chunks(0xc0, {nullptr, &first, &second, {}}, std::nullopt, words.at(3));
  if (verb == "push-index") client.push_file(hello::kPushIndex, {nullptr, &second, nullptr, {}}, words[1], "");
  if (verb == "push-archive") client.push_file(hello::kPushArchive, {&second, nullptr, nullptr, {}}, words[1], "");
  if (verb == "push-both") {
    const RemoteLocator index = place(3), store = place(4);
    client.push_file(0xe00, {nullptr, &index, &store, {}}, words[1], words[2]);
  }
  if (verb == "push-chunks") client.push_file(hello::kPushChunks, {nullptr, nullptr, &second, {}}, words[1], "");
  return 0;
}
