#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::net {

namespace {

constexpr std::size_t kRecordBytes = 16 * 1024;      // of plain text, at most, in one record
constexpr std::size_t kSealedBytesMax = 128 * 1024;  // that wait for the stream below; then nothing more is sealed
constexpr std::size_t kReceiveBytes = 32 * 1024;

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// What OpenSSL has to say, and nothing left of it for the next one who asks.
std::string take_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? "unknown reason" : reason;
  ERR_clear_error();
  return text;
}

class TlsStream final : public Stream, public std::enable_shared_from_this<TlsStream> {
 public:
  TlsStream(Scheduler& scheduler, std::unique_ptr<Stream> below, std::shared_ptr<const TlsIdentity> identity, SSL_CTX* context)
      : scheduler_(scheduler),
        below_(std::move(below)),
        identity_(std::move(identity)),
        ssl_(SSL_new(context)),
        received_(BIO_new(BIO_s_mem())),
        sealed_(BIO_new(BIO_s_mem())),
        room_(kReceiveBytes) {
    GODWIT_CHECK(ssl_ && received_ != nullptr && sealed_ != nullptr);
    SSL_set_bio(ssl_.get(), received_, sealed_);  // which owns them now
    SSL_set_accept_state(ssl_.get());
  }

  void read(std::span<const MutableBytes> into, Done<std::size_t> done) override {
    GODWIT_CHECK(!read_done_);
    into_.assign(into.begin(), into.end());
    read_done_ = std::move(done);
    pump();
  }
  void write(std::span<const ConstBytes> from, Done<void> done) override {
    GODWIT_CHECK(!write_done_);
    from_.assign(from.begin(), from.end());
    write_done_ = std::move(done);
    pump();
  }
  void shut_down_sending() override {
    shutting_down_ = true;
    pump();
  }
  void close() override {
    below_->close();
    end_all(Error(ErrorKind::cancelled, "the stream was closed"));
  }
  void limit_unsent(std::size_t bytes) override { below_->limit_unsent(bytes); }
  Address peer() const override { return below_->peer(); }

 private:
  // Does all that can be done without waiting, then waits for the stream below.
  void pump() {
    if (!error_) {
      const bool sealed = seal();
      if (!error_) open();
      if (sealed && !error_ && !write_done_ && shutting_down_ && !said_goodbye_ && SSL_is_init_finished(ssl_.get())) {
        said_goodbye_ = true;
        if (SSL_shutdown(ssl_.get()) < 0) ERR_clear_error();  // nobody is left to be told
      }
    }
    flush();
    // To the peer nothing goes any more; what has come from it is still read.
    if (lost_error_ && !error_) {
      if (!SSL_is_init_finished(ssl_.get()))
        error_ = lost_error_;
      else if (write_done_)
        fail_write(*lost_error_);
    }
    if (error_) return end_all(*error_);
    const bool waits_for_peer = read_done_ || (write_done_ && !SSL_is_init_finished(ssl_.get()));
    if (waits_for_peer && !below_is_over_) receive();
  }

  // Turns what is to be written into records, as long as not too many wait. True: all of it.
  bool seal() {
    if (lost_error_) return false;
    while (!from_.empty() && BIO_ctrl_pending(sealed_) < kSealedBytesMax) {
      ConstBytes& next = from_.front();
      if (next.empty()) {
        from_.erase(from_.begin());
        continue;
      }
      std::size_t count = 0;
      const int result = SSL_write_ex(ssl_.get(), next.data(), std::min(next.size(), kRecordBytes), &count);
      if (result != 1 && !goes_on(result)) return false;
      if (result != 1) break;
      next = next.subspan(count);
    }
    return from_.empty();
  }

  // Turns records into what is to be read.
  void open() {
    if (!read_done_) return;
    std::size_t total = 0;
    for (const MutableBytes span : into_) {
      std::size_t filled = 0;
      while (filled < span.size()) {
        std::size_t count = 0;
        const int result = SSL_read_ex(ssl_.get(), span.data() + filled, span.size() - filled, &count);
        if (result != 1) {
          if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN) return tell_read(total);  // 0: the peer said goodbye
          // What came before an error is given first; the error meets the next read.
          if (total > 0) {
            ERR_clear_error();
            return tell_read(total);
          }
          (void)goes_on(result);
          return;
        }
        filled += count;
        total += count;
      }
    }
    tell_read(total);
  }

  // Whether a call that gave `result` just waits for the peer; else the stream has failed.
  bool goes_on(int result) {
    const int why = SSL_get_error(ssl_.get(), result);
    if ((why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) && !below_is_over_) {
      ERR_clear_error();
      return true;
    }
    if (below_is_over_) {
      ERR_clear_error();
      error_ = Error(ErrorKind::connection_lost, below_error_.empty() ? "the peer left in the middle of TLS" : below_error_);
    } else {
      error_ = Error(ErrorKind::invalid, "TLS: " + take_reason());
    }
    return false;
  }

  void flush() {
    if (sending_ || lost_error_) return;
    const std::size_t size = BIO_ctrl_pending(sealed_);
    if (size == 0) return all_flushed();
    out_.resize(size);
    const int count = BIO_read(sealed_, out_.data(), static_cast<int>(out_.size()));
    GODWIT_CHECK(count == static_cast<int>(out_.size()));
    sending_ = true;
    const ConstBytes from[] = {out_};
    below_->write(from, [self = weak_from_this()](Result<void> written) {
      const std::shared_ptr<TlsStream> stream = self.lock();
      if (!stream) return;
      stream->sending_ = false;
      if (!written) stream->lost_error_ = written.error();
      stream->pump();
    });
  }

  void all_flushed() {
    if (!error_ && write_done_ && from_.empty()) post(std::exchange(write_done_, nullptr), Result<void>());
    if (said_goodbye_ && !std::exchange(below_was_ended_, true)) below_->shut_down_sending();
    // A write that ended makes room for the goodbye, which pump() says.
    if (shutting_down_ && !said_goodbye_ && !error_ && !write_done_ && SSL_is_init_finished(ssl_.get())) pump();
  }

  void receive() {
    if (std::exchange(receiving_, true)) return;
    const MutableBytes into[] = {room_};
    below_->read(into, [self = weak_from_this()](Result<std::size_t> count) {
      const std::shared_ptr<TlsStream> stream = self.lock();
      if (!stream) return;
      stream->receiving_ = false;
      if (!count || *count == 0) {
        stream->below_is_over_ = true;
        if (!count) stream->below_error_ = count.error().message();
      } else {
        const int taken = BIO_write(stream->received_, stream->room_.data(), static_cast<int>(*count));
        GODWIT_CHECK(taken == static_cast<int>(*count));
      }
      stream->pump();
    });
  }

  void tell_read(std::size_t count) {
    into_.clear();
    post(std::exchange(read_done_, nullptr), Result<std::size_t>(count));
  }
  void end_all(const Error& error) {
    error_ = error;
    into_.clear();
    if (read_done_) post(std::exchange(read_done_, nullptr), Result<std::size_t>(fail(error)));
    fail_write(error);
  }
  void fail_write(const Error& error) {
    from_.clear();
    if (write_done_) post(std::exchange(write_done_, nullptr), Result<void>(fail(error)));
  }
  // In a later turn, unless the stream is gone by then.
  template <class T>
  void post(Done<T> done, Result<T> result) {
    scheduler_.post([self = weak_from_this(), done = std::move(done), result = std::move(result)]() mutable {
      if (const std::shared_ptr<TlsStream> alive = self.lock()) done(std::move(result));
    });
  }

  Scheduler& scheduler_;
  std::unique_ptr<Stream> below_;
  std::shared_ptr<const TlsIdentity> identity_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  BIO* received_;  // the SSL's
  BIO* sealed_;
  Bytes room_;
  Bytes out_;
  std::vector<MutableBytes> into_;
  Done<std::size_t> read_done_;
  std::vector<ConstBytes> from_;  // what is left to be sealed
  Done<void> write_done_;
  std::optional<Error> error_;
  std::optional<Error> lost_error_;  // nothing more can be sent
  std::string below_error_;
  bool sending_ = false;
  bool receiving_ = false;
  bool below_is_over_ = false;  // nothing more comes
  bool shutting_down_ = false;
  bool said_goodbye_ = false;
  bool below_was_ended_ = false;
};

// The stream as its user owns it. What is under way below knows only a weak pointer.
class OwnedTlsStream final : public Stream {
 public:
  explicit OwnedTlsStream(std::shared_ptr<TlsStream> stream) : stream_(std::move(stream)) {}
  void read(std::span<const MutableBytes> into, Done<std::size_t> done) override { stream_->read(into, std::move(done)); }
  void write(std::span<const ConstBytes> from, Done<void> done) override { stream_->write(from, std::move(done)); }
  void shut_down_sending() override { stream_->shut_down_sending(); }
  void close() override { stream_->close(); }
  void limit_unsent(std::size_t bytes) override { stream_->limit_unsent(bytes); }
  Address peer() const override { return stream_->peer(); }

 private:
  std::shared_ptr<TlsStream> stream_;
};

}  // namespace

struct TlsIdentity::Context {
  ~Context() { SSL_CTX_free(ssl); }
  SSL_CTX* ssl = SSL_CTX_new(TLS_server_method());
};

TlsIdentity::TlsIdentity(std::unique_ptr<Context> context) : context_(std::move(context)) {}
TlsIdentity::~TlsIdentity() = default;

Result<std::shared_ptr<const TlsIdentity>> TlsIdentity::load(const std::string& certificate, const std::string& key) {
  auto context = std::make_unique<Context>();
  GODWIT_CHECK(context->ssl != nullptr);
  SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
  SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  ERR_clear_error();
  for (const std::string& file : {certificate, key}) {
    std::error_code error;
    if (!std::filesystem::exists(file, error)) return fail(ErrorKind::not_found, fmt::format("{}: no such file", file));
  }
  if (SSL_CTX_use_certificate_chain_file(context->ssl, certificate.c_str()) != 1)
    return fail(ErrorKind::invalid, fmt::format("{}: no certificate in PEM: {}", certificate, take_reason()));
  if (SSL_CTX_use_PrivateKey_file(context->ssl, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return fail(ErrorKind::invalid, fmt::format("{}: no key in PEM that belongs to {}: {}", key, certificate, take_reason()));
  if (SSL_CTX_check_private_key(context->ssl) != 1)
    return fail(ErrorKind::invalid, fmt::format("{}: does not belong to {}: {}", key, certificate, take_reason()));
  return std::shared_ptr<const TlsIdentity>(new TlsIdentity(std::move(context)));
}

std::unique_ptr<Stream> make_tls_stream(Scheduler& scheduler, std::unique_ptr<Stream> below,
                                        std::shared_ptr<const TlsIdentity> identity) {
  SSL_CTX* const context = identity->context_->ssl;
  return std::make_unique<OwnedTlsStream>(std::make_shared<TlsStream>(scheduler, std::move(below), std::move(identity), context));
}

void TlsNetwork::connect(const Address& to, Done<std::unique_ptr<Stream>> done) {
  scheduler_.post([to, done = std::move(done)]() mutable {
    done(fail(ErrorKind::unsupported, "connect to " + to.text() + ": TLS is only for servers here"));
  });
}

Result<std::unique_ptr<Listener>> TlsNetwork::listen(const Address& at, std::function<void(std::unique_ptr<Stream>)> accept) {
  return below_.listen(
      at, [&scheduler = scheduler_, identity = identity_, accept = std::move(accept)](std::unique_ptr<Stream> stream) {
        accept(make_tls_stream(scheduler, std::move(stream), identity));
      });
}

}  // namespace godwit::net
