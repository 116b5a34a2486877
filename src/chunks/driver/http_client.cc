// The only file that includes libcurl.
#include "chunks/driver/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/token_bucket.h"

namespace godwit::chunks {

namespace {

constexpr long kRedirectsMax = 10;

struct Request {
  std::string url;
  std::uint64_t size_max = 0;
  bool head_only = false;
  std::string range;      // "" for the whole
  HttpClient::Sink sink;  // may be null
  unsigned tries_made = 0;
  net::Done<HttpAnswer> done;  // touched on the scheduler's thread alone
};

// What all transfers of a client share, on libcurl's thread.
struct Pace {
  const net::Scheduler& scheduler;
  std::optional<TokenBucket> bucket;
  std::vector<CURL*> paused;
};

// One request while libcurl has it.
struct Job {
  CURL* easy = nullptr;
  Pace* pace = nullptr;
  std::unique_ptr<Request> request;
  HttpAnswer answer;
  bool too_large = false;
  bool has_whole_head = false;      // of the last answer: those before it redirected
  std::uint64_t dropped_bytes = 0;  // of a page that only explains a refusal
  bool has_declined = false;        // the body is not wanted
  std::uint64_t sunk = 0;           // what the sink has taken
  std::optional<Error> sink_error;
  char problem[CURL_ERROR_SIZE] = {};
};

// The rest of such a page is read, so that the connection can be kept; but not for ever.
constexpr std::uint64_t kDroppedBytesMax = 256 * 1024;

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* user) {
  Job& job = *static_cast<Job*>(user);
  const std::size_t bytes = size * count;
  const bool has_sink = job.request->sink != nullptr;
  const bool is_part = !job.request->range.empty();
  const long wanted = is_part ? 206 : 200;
  long status = 0;
  curl_easy_getinfo(job.easy, CURLINFO_RESPONSE_CODE, &status);
  if ((has_sink || is_part) && status != wanted) {
    job.has_declined = true;
    return 0;
  }
  const std::uint64_t room = job.request->size_max - (has_sink ? job.sunk : job.answer.body.size());
  if (bytes > room && status == wanted) {
    job.too_large = true;
    return 0;
  }
  if (std::optional<TokenBucket>& bucket = job.pace->bucket) {
    const Instant now = job.pace->scheduler.now();
    if (bucket->available(now) == 0) {
      job.pace->paused.push_back(job.easy);
      return CURL_WRITEFUNC_PAUSE;  // these bytes are given again later
    }
    bucket->take(bytes, now);
  }
  if (has_sink) {
    if (Result<void> taken = job.request->sink(job.sunk, as_bytes({data, bytes})); !taken) {
      job.sink_error = std::move(taken).error();
      return 0;
    }
    job.sunk += bytes;
    return bytes;
  }
  const auto kept = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, room));
  append(job.answer.body, as_bytes({data, kept}));
  job.dropped_bytes += bytes - kept;
  return job.dropped_bytes > kDroppedBytesMax ? 0 : bytes;
}

// libcurl takes an answer that ends within its head for one without a body.
std::size_t take_header(char* data, std::size_t size, std::size_t count, void* user) {
  const std::string_view line(data, size * count);
  static_cast<Job*>(user)->has_whole_head = line == "\r\n" || line == "\n";
  return line.size();
}

// Once per process, whichever client comes first; libcurl does not need it undone.
void initialize_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  GODWIT_CHECK(code == CURLE_OK);
}

bool may_help_to_try_again(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM: return true;
    default: return false;
  }
}

ErrorKind kind_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_TOO_MANY_REDIRECTS: return ErrorKind::invalid;
    case CURLE_OPERATION_TIMEDOUT: return ErrorKind::timed_out;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE: return ErrorKind::refused;
    default: return ErrorKind::connection_lost;
  }
}

// libcurl's sentence, and where it does not say what to do, ours.
std::string sentence_of(CURLcode code, std::string_view problem) {
  if (problem.find("HTTP/0.9") != problem.npos) return "what answers there does not speak HTTP";
  std::string why(problem.empty() ? curl_easy_strerror(code) : problem);
  switch (code) {
    case CURLE_TOO_MANY_REDIRECTS: return fmt::format("it is redirected more than {} times, perhaps in a circle", kRedirectsMax);
    case CURLE_SSL_CONNECT_ERROR: return why + " (does it speak HTTPS?)";
    case CURLE_PEER_FAILED_VERIFICATION:
      return why + " (to trust it all the same, name a file with its certificate in SSL_CERT_FILE)";
    default: return why;
  }
}

std::string header_of(CURL* easy, const char* name) {
  curl_header* header = nullptr;
  return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : "";
}

// "bytes FIRST-LAST/SIZE". Nothing of it is filled in where it says something else.
void read_content_range(std::string_view text, HttpAnswer& answer) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return;
  const char* const end = text.data() + text.size();
  std::uint64_t first = 0, last = 0, size = 0;
  const auto begin = std::from_chars(text.data() + kUnit.size(), end, first);
  if (begin.ec != std::errc() || begin.ptr == end || *begin.ptr != '-') return;
  const auto middle = std::from_chars(begin.ptr + 1, end, last);
  if (middle.ec != std::errc() || middle.ptr == end || *middle.ptr != '/') return;
  const auto whole = std::from_chars(middle.ptr + 1, end, size);
  if (whole.ec != std::errc() || whole.ptr != end || last < first || last >= size) return;
  if (last - first + 1 != answer.body.size()) return;
  answer.first = first;
  answer.size_of_all = size;
}

long milliseconds(Duration duration) {
  return static_cast<long>(duration.nanoseconds / 1'000'000);
}

bool is_https(std::string_view url) {
  constexpr std::string_view kScheme = "https:";
  return url.size() >= kScheme.size() && std::ranges::equal(url.substr(0, kScheme.size()), kScheme, {},
                                                            [](char c) { return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c; });
}

// As messages show it.
std::string place_of(CURL* easy, const std::string& url) {
  char* effective = nullptr;
  long redirects = 0;
  curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &effective);
  curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
  if (redirects == 0 || effective == nullptr) return url_for_people(url);
  return fmt::format("{} (redirected to {})", url_for_people(url), url_for_people(effective));
}

}  // namespace

Error error_of_answer(const HttpAnswer& answer) {
  if (answer.status == 404) return Error(ErrorKind::not_found, answer.place + " is not there");
  const bool is_refused = answer.status == 401 || answer.status == 403;
  return Error(is_refused ? ErrorKind::refused : ErrorKind::io,
               fmt::format("{}: the server answered with status {}{}", answer.place, answer.status,
                           is_refused ? ": give a user and password in the URL or in ~/.netrc" : ""));
}

std::string url_for_people(std::string_view url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string_view::npos) return std::string(url);
  const std::size_t host = begin + 3;
  const std::string_view authority = url.substr(host, url.find('/', host) - host);
  const std::size_t at = authority.rfind('@');
  const std::size_t colon = authority.substr(0, at == std::string_view::npos ? 0 : at).find(':');
  if (colon == std::string_view::npos) return std::string(url);
  return fmt::format("{}…{}", url.substr(0, host + colon + 1), url.substr(host + at));
}

struct HttpClient::Impl : std::enable_shared_from_this<HttpClient::Impl> {
  Impl(net::Scheduler& s, HttpClientOptions o) : scheduler(s), options(std::move(o)), pace{s, std::nullopt, {}} {
    if (options.bytes_per_second > 0) pace.bucket.emplace(options.bytes_per_second, scheduler.now());
  }

  // --- on the scheduler's thread ---
  void begin(std::unique_ptr<Request> request) {
    scheduler.hold();
    {
      const std::scoped_lock lock(mutex);
      incoming.push_back(std::move(request));
    }
    curl_multi_wakeup(multi);
  }

  // `answer` or an error; a 5xx and what may go away by itself is tried again after a pause.
  void finish(std::unique_ptr<Request> request, Result<HttpAnswer> answer, bool try_again) {
    scheduler.release();
    if (closed) return;
    if (answer && answer->status >= 500) {
      answer = fail(ErrorKind::io, fmt::format("{}: the server answered with status {}", answer->place, answer->status));
      try_again = true;
    }
    ++request->tries_made;
    if (!answer && try_again && request->tries_made < options.tries) {
      const Duration pause = options.pause * request->tries_made;
      scheduler.schedule(scheduler.now() + pause, [self = weak_from_this(), r = std::move(request)]() mutable {
        if (const auto impl = self.lock(); impl && !impl->closed) impl->begin(std::move(r));
      });
      return;
    }
    if (!answer && request->tries_made > 1)
      answer = fail(answer.error().kind(), fmt::format("{} ({} tries)", answer.error().message(), request->tries_made));
    net::Done<HttpAnswer> done = std::move(request->done);
    done(std::move(answer));
  }

  // --- on libcurl's thread ---
  void run() {
    while (true) {
      std::deque<std::unique_ptr<Request>> taken;
      {
        const std::scoped_lock lock(mutex);
        if (stopping) break;
        taken.swap(incoming);
      }
      for (auto& request : taken) add(std::move(request));
      int running = 0;
      curl_multi_perform(multi, &running);
      collect();
      curl_multi_poll(multi, nullptr, 0, wake_paused(), nullptr);
    }
    for (auto& [easy, job] : jobs) {
      curl_multi_remove_handle(multi, easy);
      curl_easy_cleanup(easy);
      post_back(std::move(job->request), fail(ErrorKind::cancelled, ""), false);
    }
    jobs.clear();
    const std::scoped_lock lock(mutex);
    for (auto& request : incoming) post_back(std::move(request), fail(ErrorKind::cancelled, ""), false);
    incoming.clear();
  }

  // Lets paused transfers go on when their time has come. Gives how long there is nothing to do, in milliseconds.
  int wake_paused() {
    constexpr std::int64_t kIdleMilliseconds = 10'000;
    if (pace.paused.empty()) return kIdleMilliseconds;
    const Instant now = scheduler.now();
    const Duration wait = pace.bucket->next(now) - now;
    if (wait.nanoseconds > 0) return static_cast<int>(std::min(wait.nanoseconds / 1'000'000 + 1, kIdleMilliseconds));
    // Each is handed what it held back at once, and may then be paused anew.
    for (CURL* easy : std::exchange(pace.paused, {})) curl_easy_pause(easy, CURLPAUSE_CONT);
    return 0;
  }

  void add(std::unique_ptr<Request> request) {
    CURL* easy = curl_easy_init();
    GODWIT_CHECK(easy != nullptr);
    auto job = std::make_unique<Job>();
    job->request = std::move(request);
    job->easy = easy;
    job->pace = &pace;
    curl_easy_setopt(easy, CURLOPT_URL, job->request->url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    // Who asked for HTTPS is not led to a place that anybody on the way can speak for.
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, is_https(job->request->url) ? "https" : "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, kRedirectsMax);
    curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_OPTIONAL));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "godwit");
    curl_easy_setopt(easy, CURLOPT_NOBODY, job->request->head_only ? 1L : 0L);
    if (!job->request->range.empty()) curl_easy_setopt(easy, CURLOPT_RANGE, job->request->range.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options.connect_limit));
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, std::max(1L, milliseconds(options.stall_limit) / 1000));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->problem);
    if (!options.authorities.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.authorities.c_str());
    if (!options.authorities_folder.empty()) curl_easy_setopt(easy, CURLOPT_CAPATH, options.authorities_folder.c_str());
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, job.get());
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, job.get());
    jobs.emplace(easy, std::move(job));
    const CURLMcode added = curl_multi_add_handle(multi, easy);
    GODWIT_CHECK(added == CURLM_OK);
  }

  void collect() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* easy = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto found = jobs.find(easy);
      GODWIT_CHECK(found != jobs.end());
      const std::unique_ptr<Job> job = std::move(found->second);
      jobs.erase(found);
      std::erase(pace.paused, easy);
      long status = 0;
      curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
      job->answer.status = static_cast<int>(status);
      job->answer.place = place_of(easy, job->request->url);
      job->answer.version = header_of(easy, "ETag");
      if (job->answer.version.empty()) job->answer.version = header_of(easy, "Last-Modified");
      if (status == 206) read_content_range(header_of(easy, "Content-Range"), job->answer);
      curl_multi_remove_handle(multi, easy);
      curl_easy_cleanup(easy);
      if (job->too_large) {
        const std::uint64_t size_max = job->request->size_max;
        post_back(std::move(job->request),
                  fail(ErrorKind::limit, fmt::format("{}: more than {} bytes", job->answer.place, size_max)), false);
      } else if (job->sink_error) {
        post_back(std::move(job->request), fail(std::move(*job->sink_error)), false);
      } else if (code != CURLE_OK && !job->has_declined && job->dropped_bytes <= kDroppedBytesMax) {
        post_back(std::move(job->request),
                  fail(kind_of(code), fmt::format("{}: {}", job->answer.place, sentence_of(code, job->problem))),
                  may_help_to_try_again(code));
      } else if (!job->has_whole_head) {
        post_back(std::move(job->request),
                  fail(ErrorKind::connection_lost, job->answer.place + ": the answer ends within its head"), true);
      } else {
        post_back(std::move(job->request), std::move(job->answer), false);
      }
    }
  }

  void post_back(std::unique_ptr<Request> request, Result<HttpAnswer> answer, bool try_again) {
    scheduler.post([self = shared_from_this(), r = std::move(request), a = std::move(answer), try_again]() mutable {
      self->finish(std::move(r), std::move(a), try_again);
    });
  }

  net::Scheduler& scheduler;
  const HttpClientOptions options;
  Pace pace;
  bool closed = false;
  CURLM* multi = nullptr;
  std::thread thread;
  std::map<CURL*, std::unique_ptr<Job>> jobs;  // libcurl's thread
  std::mutex mutex;
  std::deque<std::unique_ptr<Request>> incoming;  // under mutex
  bool stopping = false;                          // under mutex
};

HttpClient::HttpClient(net::Scheduler& scheduler, HttpClientOptions options)
    : impl_(std::make_shared<Impl>(scheduler, std::move(options))) {
  initialize_curl();
  impl_->multi = curl_multi_init();
  GODWIT_CHECK(impl_->multi != nullptr);
  curl_multi_setopt(impl_->multi, CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(impl_->options.connections_per_host));
  curl_multi_setopt(impl_->multi, CURLMOPT_MAXCONNECTS, static_cast<long>(impl_->options.connections_per_host) * 2);
  curl_multi_setopt(impl_->multi, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

HttpClient::~HttpClient() {
  impl_->closed = true;
  {
    const std::scoped_lock lock(impl_->mutex);
    impl_->stopping = true;
  }
  curl_multi_wakeup(impl_->multi);
  impl_->thread.join();
  curl_multi_cleanup(impl_->multi);
}

void HttpClient::get(const std::string& url, std::uint64_t size_max, net::Done<HttpAnswer> done) {
  impl_->begin(std::make_unique<Request>(Request{url, size_max, false, "", nullptr, 0, std::move(done)}));
}

void HttpClient::head(const std::string& url, net::Done<HttpAnswer> done) {
  impl_->begin(std::make_unique<Request>(Request{url, 0, true, "", nullptr, 0, std::move(done)}));
}

void HttpClient::get_range(const std::string& url, std::uint64_t first, std::uint64_t length, net::Done<HttpAnswer> done) {
  impl_->begin(std::make_unique<Request>(
      Request{url, length, false, fmt::format("{}-{}", first, first + length - 1), nullptr, 0, std::move(done)}));
}

void HttpClient::get_into(const std::string& url, std::uint64_t size_max, Sink sink, net::Done<HttpAnswer> done) {
  impl_->begin(std::make_unique<Request>(Request{url, size_max, false, "", std::move(sink), 0, std::move(done)}));
}

}  // namespace godwit::chunks
