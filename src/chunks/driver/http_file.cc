#include "chunks/driver/http_file.h"

#include <algorithm>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/read_ahead.h"

namespace godwit::chunks {

using net::Done;

namespace {

// What an answer other than the bytes that were asked for means.
Error problem_of(const HttpAnswer& answer) {
  switch (answer.status) {
    case 200: return Error(ErrorKind::unsupported, answer.place + ": the server gives whole files only, no ranges of them");
    case 206: return Error(ErrorKind::io, answer.place + ": the server answered with another range than was asked for");
    case 416: return Error(ErrorKind::invalid, answer.place + ": the file is empty, or has become shorter");
    default: return error_of_answer(answer);
  }
}

}  // namespace

class HttpFile::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::string url, net::Scheduler& scheduler, const HttpClientOptions& client, const HttpFileOptions& options)
      : url_(std::move(url)),
        options_(options),
        scheduler_(scheduler),
        read_ahead_({.window_bytes_min = options.piece_bytes,
                     .window_bytes_max = std::min(options.ahead_bytes_max, options.cache_bytes_max / 4)}),
        client_(scheduler, client) {}

  void open(Done<void> done) {
    client_.get_range(url_, 0, options_.piece_bytes, [this, done = std::move(done)](Result<HttpAnswer> answer) mutable {
      if (!answer) return done(fail(std::move(answer).error()));
      size_ = answer->size_of_all;
      if (answer->status != 206 || answer->first != 0 || answer->body.size() != std::min(size_, options_.piece_bytes) ||
          size_ == 0)
        return done(fail(problem_of(*answer)));
      version_ = answer->version;
      Piece& first = add(0);
      first.bytes = std::move(answer->body);
      first.is_here = true;
      fetched_ = first.bytes.size();
      done({});
    });
  }

  void read(std::uint64_t offset, MutableBytes into, Done<void> done) {
    if (offset > size_ || into.size() > size_ - offset)
      return later(std::move(done), fail(ErrorKind::invalid, fmt::format("{}: a read at {} of {} bytes ends behind its end, {}",
                                                                         url_for_people(url_), offset, into.size(), size_)));
    if (into.empty()) return later(std::move(done), {});
    const auto wanted = std::make_shared<Read>(Read{offset, into, 0, std::nullopt, std::move(done)});
    const std::uint64_t first = offset / options_.piece_bytes, last = (offset + into.size() - 1) / options_.piece_bytes;
    wanted->left = last - first + 1;
    for (std::uint64_t number = first; number <= last; ++number) want(number, wanted);
    const ByteRange ahead = read_ahead_.handle_read(offset, offset + into.size());
    const std::uint64_t end = std::min(ahead.end, size_);
    for (std::uint64_t at = ahead.begin; at < end; at += options_.piece_bytes - at % options_.piece_bytes)
      want(at / options_.piece_bytes, nullptr);
    drop_old();
  }

  std::uint64_t size() const { return size_; }
  std::uint64_t bytes_fetched() const { return fetched_; }
  const std::string& url() const { return url_; }
  void close() { closed_ = true; }
  void later(Done<void> done, Result<void> result) {
    scheduler_.post([self = weak_from_this(), done = std::move(done), result = std::move(result)]() mutable {
      if (const auto alive = self.lock(); alive && !alive->closed_) done(std::move(result));
    });
  }
  net::Scheduler& scheduler() { return scheduler_; }

 private:
  struct Read {
    std::uint64_t offset = 0;
    MutableBytes into;
    std::uint64_t left = 0;  // pieces
    std::optional<Error> error;
    Done<void> done;
  };
  struct Piece {
    bool is_here = false;
    Bytes bytes;
    std::vector<std::shared_ptr<Read>> readers;
    std::list<std::uint64_t>::iterator place;
  };

  Piece& add(std::uint64_t number) {
    Piece& piece = pieces_[number];
    piece.place = order_.insert(order_.end(), number);
    return piece;
  }

  // For a reader, or ahead of one.
  void want(std::uint64_t number, const std::shared_ptr<Read>& reader) {
    const auto found = pieces_.find(number);
    if (found != pieces_.end()) {
      Piece& piece = found->second;
      order_.splice(order_.end(), order_, piece.place);
      if (!reader) return;
      if (!piece.is_here) return piece.readers.push_back(reader);
      give(number, piece.bytes, *reader);
      return end_one(reader);
    }
    Piece& piece = add(number);
    if (reader) piece.readers.push_back(reader);
    const std::uint64_t at = number * options_.piece_bytes;
    const std::uint64_t length = std::min(options_.piece_bytes, size_ - at);
    client_.get_range(url_, at, length, [this, number, at, length](Result<HttpAnswer> answer) {
      if (!closed_) take(number, check(at, length, std::move(answer)));
    });
  }

  Result<Bytes> check(std::uint64_t at, std::uint64_t length, Result<HttpAnswer> answer) {
    const auto within = [&](Error error) { return fail(std::move(error).within(fmt::format("at offset {}", at))); };
    if (!answer) return within(std::move(answer).error());
    if (answer->status == 206 && answer->size_of_all != 0 && (answer->size_of_all != size_ || answer->version != version_))
      return within(
          Error(ErrorKind::io, url_for_people(url_) + ": the file has become another one while it was read; begin anew"));
    if (answer->status != 206 || answer->first != at || answer->size_of_all == 0 || answer->body.size() != length)
      return within(problem_of(*answer));
    return std::move(answer->body);
  }

  void take(std::uint64_t number, Result<Bytes> bytes) {
    const auto found = pieces_.find(number);
    GODWIT_CHECK(found != pieces_.end());
    const std::vector<std::shared_ptr<Read>> readers = std::exchange(found->second.readers, {});
    for (const std::shared_ptr<Read>& reader : readers) {
      if (bytes)
        give(number, *bytes, *reader);
      else if (!reader->error)
        reader->error = bytes.error();
    }
    if (bytes) {
      fetched_ += bytes->size();
      found->second.bytes = std::move(*bytes);
      found->second.is_here = true;
    } else {
      order_.erase(found->second.place);
      pieces_.erase(found);
    }
    drop_old();
    for (const std::shared_ptr<Read>& reader : readers) end_one(reader);
  }

  // What of the piece the reader wants.
  void give(std::uint64_t number, ConstBytes bytes, const Read& reader) const {
    const std::uint64_t begin = number * options_.piece_bytes;
    const std::uint64_t from = std::max(begin, reader.offset);
    const std::uint64_t to = std::min(begin + bytes.size(), reader.offset + reader.into.size());
    std::ranges::copy(bytes.subspan(from - begin, to - from),
                      reader.into.begin() + static_cast<std::ptrdiff_t>(from - reader.offset));
  }

  void end_one(const std::shared_ptr<Read>& reader) {
    if (--reader->left > 0) return;
    later(std::move(reader->done), reader->error ? Result<void>(fail(*reader->error)) : Result<void>());
  }

  // Those that nobody has read for longest; none that is on its way.
  void drop_old() {
    const std::uint64_t count_max = std::max<std::uint64_t>(1, options_.cache_bytes_max / options_.piece_bytes);
    for (auto at = order_.begin(); at != order_.end() && pieces_.size() > count_max;) {
      const auto piece = pieces_.find(*at);
      if (!piece->second.is_here) {
        ++at;
        continue;
      }
      pieces_.erase(piece);
      at = order_.erase(at);
    }
  }

  const std::string url_;
  const HttpFileOptions options_;
  net::Scheduler& scheduler_;
  ReadAhead read_ahead_;
  std::uint64_t size_ = 0;
  std::string version_;
  std::uint64_t fetched_ = 0;
  bool closed_ = false;
  std::unordered_map<std::uint64_t, Piece> pieces_;
  std::list<std::uint64_t> order_;  // of pieces, the one that was read last at the end
  HttpClient client_;               // its answers touch what stands above
};

HttpFile::HttpFile(const std::string& url, net::Scheduler& scheduler, const HttpClientOptions& client,
                   const HttpFileOptions& options)
    : impl_(std::make_shared<Impl>(url, scheduler, client, options)) {}

void HttpFile::open(Done<void> done) {
  impl_->open(std::move(done));
}

HttpFile::~HttpFile() {
  impl_->close();
}

std::uint64_t HttpFile::size() const {
  return impl_->size();
}
std::uint64_t HttpFile::bytes_fetched() const {
  return impl_->bytes_fetched();
}

void HttpFile::read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  impl_->read(offset, into, std::move(done));
}

void HttpFile::write(std::uint64_t, ConstBytes, store::Durability, Done<void> done) {
  impl_->later(std::move(done), fail(ErrorKind::read_only, url_for_people(impl_->url()) + " is only read"));
}
void HttpFile::zero(std::uint64_t, std::uint64_t, store::ZeroMode, store::Durability, Done<void> done) {
  impl_->later(std::move(done), fail(ErrorKind::read_only, url_for_people(impl_->url()) + " is only read"));
}
void HttpFile::discard(std::uint64_t, std::uint64_t, Done<void> done) {
  impl_->later(std::move(done), fail(ErrorKind::read_only, url_for_people(impl_->url()) + " is only read"));
}
void HttpFile::flush(Done<void> done) {
  impl_->later(std::move(done), {});
}
void HttpFile::extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) {
  impl_->scheduler().post([offset, length, done = std::move(done)]() mutable {
    done(std::vector<store::Extent>{{.offset = offset, .length = length}});
  });
}

}  // namespace godwit::chunks
