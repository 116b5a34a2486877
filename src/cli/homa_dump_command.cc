#include "cli/homa_dump_command.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "cli/console.h"
#include "homa/driver/capture.h"
#include "homa/driver/datagram_text.h"
#include "homa/driver/kernel_address.h"

namespace godwit::cli {

namespace {

Result<std::string> content_of(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Error::from_errno(errno, "open " + path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

int run_homa_dump(const Settings& settings, const HomaDumpOptions& options) {
  Console console(settings.json);
  Result<std::string> content = content_of(options.file);
  if (!content) return console.error(content.error());
  std::vector<homa::CapturedDatagram> datagrams;
  const Result<void> read = homa::is_pcap(as_bytes(*content)) ? homa::read_capture(as_bytes(*content), datagrams)
                                                              : homa::read_hex_dump(*content, datagrams);
  std::size_t others = 0;
  for (const homa::CapturedDatagram& d : datagrams) {
    const bool wanted =
        !options.udp_port || !d.from || d.from->udp_port == *options.udp_port || d.to->udp_port == *options.udp_port;
    if (!wanted || (!options.all && !homa::is_packet(d.payload))) {
      ++others;
      continue;
    }
    const std::string text = homa::describe_datagram(d.payload);
    const std::string from = d.from ? homa::text_of(*d.from) : "";
    const std::string to = d.to ? homa::text_of(*d.to) : "";
    console.line(d.from ? fmt::format("{:.6f} {} > {} {}", d.seconds, from, to, text) : text);
    console.event(
        {{"event", "packet"}, {"seconds", d.seconds}, {"from", from}, {"to", to}, {"length", d.length}, {"text", text}});
  }
  if (!read) return console.error(Error(read.error()).within(options.file));
  if (others > 0) console.line(fmt::format("{} other datagrams", others));
  return kDone;
}

}  // namespace godwit::cli
