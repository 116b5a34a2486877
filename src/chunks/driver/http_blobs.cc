#include "chunks/driver/http_blobs.h"

#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/chunk_store.h"
#include "net/lifetime.h"

namespace godwit::chunks {

namespace {

std::string percent_encoded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~' || c == '/';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

std::string base_of(std::string_view url) {
  url = url.substr(0, url.find_first_of("?;"));
  while (url.ends_with('/')) url.remove_suffix(1);
  return std::string(url);
}

using net::Done;

class HttpBlobs final : public store::BlobStore {
 public:
  HttpBlobs(std::string_view url, net::Scheduler& scheduler, HttpClientOptions options)
      : base_(base_of(url)), title_(url_for_people(base_)), scheduler_(scheduler), client_(scheduler, std::move(options)) {}

  const std::string& title() const override { return title_; }

  void get(std::string name, std::uint64_t size_max, Done<Bytes> done) override {
    if (Result<void> valid = store::check_blob_name(name); !valid) return later(std::move(done), valid.error());
    if (is_refused(name)) return later(std::move(done), absent(name));
    const std::string url = address_of(name);
    client_.get(url, size_max, [this, name = std::move(name), done = std::move(done)](Result<HttpAnswer> answer) mutable {
      if (!answer) return done(fail(std::move(answer).error()));
      if (answer->status == 200) return done(std::move(answer->body));
      done(fail(problem_of(name, *answer)));
    });
  }

  void has(std::vector<std::string> names, Done<std::vector<bool>> done) override {
    struct Question {
      std::vector<bool> there;
      std::size_t left = 0;
      std::optional<Error> error;
      Done<std::vector<bool>> done;
    };
    for (const std::string& name : names)
      if (Result<void> valid = store::check_blob_name(name); !valid) return later(std::move(done), valid.error());
    const auto question = std::make_shared<Question>();
    question->there.resize(names.size());
    question->left = names.size() + 1;
    question->done = std::move(done);
    const auto answered = [question] {
      if (--question->left > 0) return;
      if (question->error) return question->done(fail(*question->error));
      question->done(std::move(question->there));
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (is_refused(names[i])) {
        --question->left;
        continue;
      }
      client_.head(address_of(names[i]), [this, question, answered, i, name = names[i]](Result<HttpAnswer> answer) {
        if (!answer) {
          question->error = answer.error();
        } else if (answer->status == 200) {
          question->there[i] = true;
        } else if (const Error problem = problem_of(name, *answer); problem.kind() != ErrorKind::not_found) {
          question->error = problem;
        }
        answered();
      });
    }
    scheduler_.post(lifetime_.while_alive(answered));
  }

  void put(std::string name, Bytes, Done<bool> done) override { refuse(std::move(name), std::move(done)); }
  void sync(Done<void> done) override {
    scheduler_.post(lifetime_.while_alive([done = std::move(done)]() mutable { done({}); }));
  }
  void remove(std::string name, Done<void> done) override { refuse(std::move(name), std::move(done)); }
  void list(std::string folder, Done<std::vector<store::BlobEntry>> done) override {
    if (Result<void> valid = store::check_blob_name(folder); !valid) return later(std::move(done), valid.error());
    later(std::move(done), Error(ErrorKind::unsupported, title_ + ": a web server does not list what it has"));
  }

 private:
  std::string address_of(const std::string& name) const { return base_ + "/" + percent_encoded(name); }
  Error absent(const std::string& name) const {
    return Error(ErrorKind::not_found, fmt::format("{}/{} is not there", title_, name));
  }
  static std::size_t form_of(const std::string& name) { return name.ends_with(kCompressedChunkSuffix) ? 0 : 1; }
  bool is_refused(const std::string& name) const { return refused_[form_of(name)]; }

  // What an answer other than 200 means.
  Error problem_of(const std::string& name, const HttpAnswer& answer) {
    const int status = answer.status;
    if (status == 404) return absent(name);
    if (status == 400 && !refused_[1 - form_of(name)]) {
      refused_[form_of(name)] = true;
      return absent(name);
    }
    return error_of_answer(answer);
  }

  template <class T>
  void later(Done<T> done, Error error) {
    scheduler_.post(
        lifetime_.while_alive([done = std::move(done), error = std::move(error)]() mutable { done(fail(std::move(error))); }));
  }
  template <class T>
  void refuse(std::string name, Done<T> done) {
    if (Result<void> valid = store::check_blob_name(name); !valid) return later(std::move(done), valid.error());
    later(std::move(done), Error(ErrorKind::read_only, title_ + ": a store behind HTTP is only read"));
  }

  const std::string base_;
  const std::string title_;
  net::Scheduler& scheduler_;
  HttpClient client_;
  bool refused_[2] = {false, false};
  net::Lifetime lifetime_;
};

}  // namespace

std::unique_ptr<store::BlobStore> make_http_blobs(std::string_view url, net::Scheduler& scheduler, HttpClientOptions options) {
  return std::make_unique<HttpBlobs>(url, scheduler, options);
}

}  // namespace godwit::chunks
