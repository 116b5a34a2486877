// Hosts in the test's process, on a real event loop and real folders: verbs in, answers out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "base/check.h"
#include "host/volume_verbs.h"

namespace godwit::host {

namespace json = boost::json;

// One host; `again()` ends its process and starts another.
class Host {
 public:
  // `devices`: what this machine has of them; null: the real ones.
  Host(net::EventLoop& loop, std::string data, store::BlockDevices* devices = nullptr)
      : loop_(loop), data_(std::move(data)), devices_(devices) {
    start();
  }
  ~Host() { stop(); }

  void start() {
    ProcessOptions options;
    options.listen = net::Address{"127.0.0.1", 0, ""};
    options.devices = devices_;
    Result<std::unique_ptr<VolumeProcess>> process =
        VolumeProcess::start(loop_, DataDirectory::open(data_).value(), options, Log());
    GODWIT_CHECK(process.has_value());
    process_ = std::move(*process);
    verbs_ = std::make_unique<VolumeVerbs>(*process_);
  }
  void stop() {
    if (!process_) return;
    process_->shut_down([this] { loop_.stop(); });
    loop_.run();
    verbs_.reset();
    process_.reset();
  }
  void again() {
    stop();
    start();
    loop_.post([this] { verbs_->open_all([this] { loop_.stop(); }); });
    loop_.run();
  }

  Result<json::object> perform(std::string_view request) {
    const json::value value = json::parse(json::string_view(request.data(), request.size()));
    Result<json::object> answer = fail(ErrorKind::cancelled, "the loop ended");
    loop_.post([&] {
      verbs_->perform(value.get_object(), nullptr, [&](Result<json::object> result) {
        answer = std::move(result);
        loop_.stop();
      });
    });
    loop_.run();
    return answer;
  }
  ErrorKind refusal(std::string_view request) {
    const Result<json::object> answer = perform(request);
    return answer ? ErrorKind::cancelled : answer.error().kind();
  }
  // What a verb that must fail says.
  std::string complaint(std::string_view request) {
    const Result<json::object> answer = perform(request);
    return answer ? "" : answer.error().message();
  }
  std::string state_of(std::string_view name) {
    const Result<json::object> status = perform(R"({"verb":"status"})");
    for (const json::value& volume : status->at("volumes").get_array())
      if (volume.at("name").get_string() == json::string_view(name.data(), name.size()))
        return std::string(volume.at("state").get_string());
    return "";
  }
  std::string pull_from(const Host& other, std::string_view more) {
    return R"({"verb":"pull","wait_seconds":20,"from":")" + other.process_->host_address()->text() + "\"" + std::string(more) +
           "}";
  }
  // Lets everything run until that is so; false when it does not come to be in a long time.
  bool run_until(const std::function<bool()>& so) {
    for (int looks = 0; !so(); ++looks) {
      if (looks == 20'000) return false;
      loop_.schedule(loop_.now() + Duration::milliseconds(1), [this] { loop_.stop(); });
      loop_.run();
    }
    return true;
  }
  void wait_a_little() {
    loop_.schedule(loop_.now() + Duration::milliseconds(10), [this] { loop_.stop(); });
    loop_.run();
  }
  // As a client of the volume would.
  std::string read(const std::string& name, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length);
    volume::Volume* v = process_->host().find(name);
    if (v == nullptr) return "no such volume";
    bool ok = false;
    loop_.post([&] {
      v->face().read(offset, bytes, [&](Result<void> result) {
        ok = result.has_value();
        loop_.stop();
      });
    });
    loop_.run();
    return ok ? std::string(as_text(bytes)) : "not read";
  }
  // Durably.
  bool write(const std::string& name, std::uint64_t offset, std::string_view bytes) {
    volume::Volume* v = process_->host().find(name);
    if (v == nullptr) return false;
    bool ok = false;
    loop_.post([&] {
      v->face().write(offset, as_bytes(bytes), store::Durability::durable, [&](Result<void> result) {
        ok = result.has_value();
        loop_.stop();
      });
    });
    loop_.run();
    return ok;
  }
  VolumeProcess& process() { return *process_; }
  VolumeVerbs& verbs() { return *verbs_; }
  std::string volumes() const { return data_ + "/volumes"; }

 private:
  net::EventLoop& loop_;
  std::string data_;
  store::BlockDevices* devices_;
  std::unique_ptr<VolumeProcess> process_;
  std::unique_ptr<VolumeVerbs> verbs_;
};

}  // namespace godwit::host
