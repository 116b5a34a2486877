// UDP datagrams out of what others captured: a pcap file (of Ethernet, Linux "any", raw IP or loopback; not pcapng) or a hex
// dump. Fragments and everything that is not UDP are passed over. Source: the pcap file format, draft-ietf-opsawg-pcap.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "homa/core/ids.h"

namespace godwit::homa {

struct CapturedDatagram {
  double seconds = 0;  // since the epoch; 0 from a hex dump
  std::optional<PeerAddress> from, to;
  Bytes payload;           // as much as was captured
  std::size_t length = 0;  // of the payload on the wire
};

// ErrorKind::truncated, unsupported, limit (a record of more than 256 KiB), invalid. What came before an error is in `out`.
Result<void> read_capture(ConstBytes file, std::vector<CapturedDatagram>& out);
bool is_pcap(ConstBytes file);

// A datagram's UDP payload per paragraph: hex digits with or without spaces; "0010: …" or "0x0010: …" in front of a line and
// columns of text behind two spaces are passed over.
Result<void> read_hex_dump(std::string_view text, std::vector<CapturedDatagram>& out);

}  // namespace godwit::homa
