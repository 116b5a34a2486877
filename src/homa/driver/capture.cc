#include "homa/driver/capture.h"

#include <algorithm>

#include <fmt/format.h>

namespace godwit::homa {

namespace {

constexpr std::size_t kFileHeader = 24;
constexpr std::size_t kRecordHeader = 16;
constexpr std::size_t kRecordMax = 256 * 1024;
constexpr std::uint8_t kUdp = 17;

// Numbers of a file whose order of bytes its first word tells.
class Numbers {
 public:
  Numbers(ConstBytes bytes, bool little) : bytes_(bytes), little_(little) {}
  std::uint32_t u32(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | std::to_integer<std::uint32_t>(bytes_[at + (little_ ? 3 - i : i)]);
    return value;
  }

 private:
  ConstBytes bytes_;
  bool little_;
};

std::uint16_t u16(ConstBytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8 | std::to_integer<unsigned>(bytes[at + 1]));
}
std::uint8_t u8(ConstBytes bytes, std::size_t at) {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

struct Magic {
  std::uint32_t word;  // read as little-endian
  bool little;
  double tick;
};
constexpr Magic kMagics[] = {
    {0xa1b2c3d4, true, 1e-6}, {0xd4c3b2a1, false, 1e-6}, {0xa1b23c4d, true, 1e-9}, {0x4d3cb2a1, false, 1e-9}};

const Magic* magic_of(ConstBytes file) {
  if (file.size() < 4) return nullptr;
  const std::uint32_t word = Numbers(file, true).u32(0);
  const auto* found = std::find_if(std::begin(kMagics), std::end(kMagics), [&](const Magic& m) { return m.word == word; });
  return found == std::end(kMagics) ? nullptr : found;
}

std::optional<CapturedDatagram> udp_of(ConstBytes packet, PeerAddress from, PeerAddress to) {
  if (packet.size() < 8) return std::nullopt;
  CapturedDatagram out;
  from.udp_port = u16(packet, 0);
  to.udp_port = u16(packet, 2);
  out.from = from;
  out.to = to;
  const std::size_t length = u16(packet, 4);
  if (length < 8) return std::nullopt;
  out.length = length - 8;
  out.payload = to_bytes(packet.subspan(8, std::min(packet.size() - 8, out.length)));
  return out;
}

std::optional<CapturedDatagram> ipv4_of(ConstBytes packet) {
  if (packet.size() < 20) return std::nullopt;
  const std::size_t header = 4 * (u8(packet, 0) & 15U);
  const bool is_fragment = (u16(packet, 6) & 0x3fff) != 0;
  if (header < 20 || packet.size() < header || u8(packet, 9) != kUdp || is_fragment) return std::nullopt;
  const auto address = [&](std::size_t at) {
    return ipv4_address(std::uint32_t{u16(packet, at)} << 16 | u16(packet, at + 2), 0);
  };
  return udp_of(packet.subspan(header), address(12), address(16));
}

std::optional<CapturedDatagram> ipv6_of(ConstBytes packet) {
  if (packet.size() < 40 || u8(packet, 6) != kUdp) return std::nullopt;
  PeerAddress from, to;
  std::copy_n(packet.begin() + 8, 16, from.ip.begin());
  std::copy_n(packet.begin() + 24, 16, to.ip.begin());
  return udp_of(packet.subspan(40), from, to);
}

std::optional<CapturedDatagram> ip_of(ConstBytes packet) {
  if (packet.empty()) return std::nullopt;
  return u8(packet, 0) >> 4 == 6 ? ipv6_of(packet) : u8(packet, 0) >> 4 == 4 ? ipv4_of(packet) : std::nullopt;
}

// How long the link's header is; nothing for links that are not known.
std::optional<std::size_t> link_header(std::uint32_t link, ConstBytes packet) {
  switch (link) {
    case 0: return 4;  // loopback of BSD
    case 1: {          // Ethernet, perhaps with VLAN tags
      std::size_t at = 12;
      while (packet.size() >= at + 2 && (u16(packet, at) == 0x8100 || u16(packet, at) == 0x88a8)) at += 4;
      return at + 2;
    }
    case 12:
    case 101: return 0;   // raw IP
    case 113: return 16;  // Linux "any"
    case 276: return 20;  // its second form
    default: return std::nullopt;
  }
}

std::string_view without_offset_and_text(std::string_view line) {
  if (const std::size_t colon = line.find(':'); colon != std::string_view::npos && colon <= 10) line.remove_prefix(colon + 1);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  if (const std::size_t gap = line.find("  "); gap != std::string_view::npos) line = line.substr(0, gap);
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
  return line;
}

}  // namespace

bool is_pcap(ConstBytes file) {
  return magic_of(file) != nullptr;
}

Result<void> read_capture(ConstBytes file, std::vector<CapturedDatagram>& out) {
  const Magic* magic = magic_of(file);
  if (magic == nullptr) return fail(ErrorKind::unsupported, "not a pcap file (pcapng is not read: tcpdump -w writes pcap)");
  if (file.size() < kFileHeader) return fail(ErrorKind::truncated, "pcap: the file ends in its header");
  const Numbers numbers(file, magic->little);
  const std::uint32_t link = numbers.u32(20) & 0x0fff'ffff;
  if (!link_header(link, {})) return fail(ErrorKind::unsupported, fmt::format("pcap: link type {} is not known", link));
  for (std::size_t at = kFileHeader; at < file.size();) {
    if (file.size() - at < kRecordHeader)
      return fail(ErrorKind::truncated, fmt::format("pcap: the file ends in the record at {}", at));
    const std::size_t captured = numbers.u32(at + 8);
    if (captured > kRecordMax)
      return fail(ErrorKind::limit, fmt::format("pcap: the record at {} says {} bytes, more than {}", at, captured, kRecordMax));
    if (file.size() - at - kRecordHeader < captured)
      return fail(ErrorKind::truncated, fmt::format("pcap: the file ends in the record at {}", at));
    const ConstBytes packet = file.subspan(at + kRecordHeader, captured);
    const std::size_t header = *link_header(link, packet);
    if (packet.size() >= header) {
      if (std::optional<CapturedDatagram> datagram = ip_of(packet.subspan(header))) {
        datagram->seconds = numbers.u32(at) + magic->tick * numbers.u32(at + 4);
        out.push_back(std::move(*datagram));
      }
    }
    at += kRecordHeader + captured;
  }
  return {};
}

Result<void> read_hex_dump(std::string_view text, std::vector<CapturedDatagram>& out) {
  CapturedDatagram current;
  const auto finish = [&] {
    if (current.payload.empty()) return;
    current.length = current.payload.size();
    out.push_back(std::exchange(current, {}));
  };
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = without_offset_and_text(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) {
      finish();
      continue;
    }
    Result<Bytes> bytes = from_hex(line);
    if (!bytes) return fail(std::move(bytes).error().within(fmt::format("line {}", number)));
    append(current.payload, *bytes);
    if (current.payload.size() > kRecordMax)
      return fail(ErrorKind::limit, fmt::format("line {}: a datagram of more than {} bytes", number, kRecordMax));
  }
  finish();
  return {};
}

}  // namespace godwit::homa
