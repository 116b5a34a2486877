// GET and HEAD over HTTP and HTTPS, many at a time over kept connections, tried again where that can help. libcurl does the work
// on a thread of its own, so that neither TLS nor name resolution stalls the loop; answers come on the scheduler's thread. Source
// of the table of answers: casync.md 8.5.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "net/scheduler.h"

namespace godwit::chunks {

struct HttpAnswer {
  int status = 0;
  Bytes body;         // none for HEAD, and none of what a sink has taken; of another status than 200 perhaps only the beginning
  std::string place;  // for messages: the URL, and where it was redirected to; no password
  // Of a 206 that says so: where the body begins in the file, and the size of that.
  std::uint64_t first = 0;
  std::uint64_t size_of_all = 0;
  std::string version;  // ETag, else Last-Modified; "" for neither
};

struct HttpClientOptions {
  unsigned connections_per_host = 64;
  unsigned tries = 3;  // in all: for 5xx, broken connections and unknown hosts, bodies shorter than said
  Duration pause = Duration::milliseconds(500);    // before the second try; twice as long before the third
  Duration connect_limit = Duration::seconds(30);  // until a connection stands
  Duration stall_limit = Duration::seconds(60);    // without a byte
  std::uint64_t bytes_per_second = 0;              // of all bodies together; 0: as fast as it goes
  std::string authorities;                         // a PEM file of those whose certificates are trusted; "": the system's
  std::string authorities_folder;                  // such files under the names that `openssl rehash` gives; "": the system's
};

class HttpClient {
 public:
  // The scheduler outlives it.
  explicit HttpClient(net::Scheduler& scheduler, HttpClientOptions options = {});
  // What is under way ends without a word.
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status but 5xx is an answer. Up to 10 redirects are followed, but none from HTTPS to HTTP; a user and password in the URL
  // are sent to its host and port alone, those in ~/.netrc to their host. Errors name the URL (without a password) and where it
  // was redirected to: ErrorKind::connection_lost or timed_out after the last try, io for a 5xx, limit for a body of more than
  // `size_max` bytes, refused for a certificate that is not trusted, invalid for something that is no URL, a peer that does not
  // speak HTTP, or a redirect that is not followed. Never ErrorKind::not_found: that a host is unknown says nothing of its files.
  void get(const std::string& url, std::uint64_t size_max, net::Done<HttpAnswer> done);
  void head(const std::string& url, net::Done<HttpAnswer> done);
  // `length` bytes, more than none, from `first` on: a status of 206 and those of them that there are. The body of any other
  // answer is not taken: 200 means that the server knows no ranges.
  void get_range(const std::string& url, std::uint64_t first, std::uint64_t length, net::Done<HttpAnswer> done);
  // A body of any size, piece by piece: `sink` is told where each lies, on a thread of the client's, and is called again from 0
  // on when the request is tried again. An error of its ends the request. Bodies of other answers than 200 are not given to it.
  using Sink = std::function<Result<void>(std::uint64_t offset, ConstBytes)>;
  void get_into(const std::string& url, std::uint64_t size_max, Sink sink, net::Done<HttpAnswer> done);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// What an answer of another status than 200 means: ErrorKind::not_found for 404, refused for 401 and 403, else io.
Error error_of_answer(const HttpAnswer& answer);

// The URL as messages show it: a password becomes "…".
std::string url_for_people(std::string_view url);

}  // namespace godwit::chunks
