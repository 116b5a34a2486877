// What an HTTP/1.1 request of a GET or HEAD says, as far as a server of unchanging files needs it. Bytes in, values out; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace godwit::chunks {

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};

struct FileRequest {
  int refusal = 0;  // the status that answers it; 0: none
  bool is_head = false;
  bool keep_alive = true;
  std::string path;           // relative and decoded, no more: is_image_path() says whether it may be served
  std::string range;          // the Range header's value; "" for none
  std::string if_range;       // likewise: the range counts only for the file that has this tag
  std::string if_none_match;  // the tags of what the client has
};

// Of a head, up to and with its empty line. A request with a body is refused, since nobody who reads files sends one.
FileRequest parse_file_request(std::string_view head);

// "bytes=A-B", "bytes=A-", "bytes=-N" of a file of `size` bytes. Nothing where the header says nothing of use (another unit,
// several ranges), so that the whole file is the answer; a length of 0 where it can not be satisfied (416).
std::optional<ByteRange> parse_range(std::string_view range, std::uint64_t size);

// Whether a list of tags (If-None-Match) names `tag`, which is in quotation marks: "*" names every one, and W/ before one counts
// for nothing, since nobody is sent a part for it.
bool names_tag(std::string_view list, std::string_view tag);

// Whether a path may be served: an index, an archive, or a chunk of a store; nothing that is hidden or half written.
bool is_image_path(std::string_view path);

}  // namespace godwit::chunks
