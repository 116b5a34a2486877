// A key-value store in a page: a server that keeps strings, and a client that talks to it in a coroutine.
//   key_value serve 127.0.0.1:9161        prints "serving at …"
//   key_value 127.0.0.1:9161 set colour blue
//   key_value 127.0.0.1:9161 get colour
#include <cstdio>
#include <map>
#include <string>

#include <godwit/homa.hpp>

namespace homa = godwit::homa;

namespace {

constexpr std::uint16_t kPort = 7;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// "set KEY VALUE" or "get KEY".
std::string answer(std::map<std::string, std::string>& store, std::string_view request) {
  const std::size_t verb_end = std::min(request.find(' '), request.size());
  const std::string_view verb = request.substr(0, verb_end);
  const std::string_view rest = request.substr(std::min(verb_end + 1, request.size()));
  const std::size_t key_end = std::min(rest.find(' '), rest.size());
  const std::string key(rest.substr(0, key_end));
  if (verb == "set") {
    store[key] = std::string(rest.substr(std::min(key_end + 1, rest.size())));
    return "ok";
  }
  const auto found = store.find(key);
  return verb != "get" ? "what?" : found == store.end() ? "nothing" : "= " + found->second;
}

int serve(const char* at) {
  auto transport = homa::Transport::open({.bind = at});
  if (!transport) return std::fprintf(stderr, "%s\n", transport.error().text.c_str()), 1;
  std::map<std::string, std::string> store;
  const auto served = (*transport)->serve(kPort, [&](homa::Request request) {
    // It fails only when the client has gone.
    (void)request.reply(answer(store, request.text()));
  });
  if (!served) return std::fprintf(stderr, "%s\n", served.error().text.c_str()), 1;
  std::printf("serving at %s\n", (*transport)->local_address().text().c_str());
  std::fflush(stdout);
  (*transport)->run();
  return 0;
}

homa::Task ask(homa::Transport& transport, homa::Address server, std::string request, int& code) {
  const homa::Outcome<homa::Message> response =
      co_await transport.call(server, kPort, bytes_of(request), {.deadline = std::chrono::seconds(2)});
  if (response)
    std::printf("%.*s\n", static_cast<int>(response->size()), response->text().data());
  else
    std::fprintf(stderr, "%s\n", response.error().text.c_str());
  code = response ? 0 : 1;
  transport.stop();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "serve") return serve(argv[2]);
  if (argc < 4)
    return std::fprintf(stderr, "usage: key_value serve HOST:PORT | key_value HOST:PORT get KEY | … set KEY VALUE\n"), 2;
  auto server = homa::Address::resolve(argv[1]);
  auto transport = homa::Transport::open({});
  if (!server || !transport) return std::fprintf(stderr, "%s\n", (server ? transport.error() : server.error()).text.c_str()), 1;
  std::string request = argv[2];
  for (int i = 3; i < argc; ++i) request += std::string(" ") + argv[i];
  int code = 1;
  ask(**transport, *server, request, code);
  (*transport)->run();
  return code;
}
