// A node of an archive as lines of text, byte for byte as the original program's `list`, `mtree` and `stat` print it. Source:
// casync.md 7 and tests against the original program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "chunks/core/archive_node.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks {

// Octal escapes for blanks, control and non-ASCII bytes, '#' and '\'.
std::string octal_escaped(std::string_view text);
// "drwxr-xr-x", as ls says it.
std::string mode_text(std::uint32_t mode);

// `path` is "." for the top. Without line ends.
std::string list_line(const Node& node, std::string_view path);
// `digest` is that of a regular file's bytes.
std::string mtree_line(const Node& node, std::string_view path, const std::optional<ChunkId>& digest);

struct StatFacts {
  std::string_view path;
  std::uint64_t offset = 0;                // of ENTRY in the archive
  std::optional<ChunkId> payload_digest;   // of a regular file
  std::optional<ChunkId> hardlink_digest;  // over all bytes of a node that is no folder
  bool tells_project = false;              // also project 0, as of a folder that is read itself
  std::string time;                        // "2026-11-21 11:58:32", the node's in the reader's time zone
};
// Several lines, each with its end.
std::string stat_block(const Node& node, const StatFacts& facts);

}  // namespace godwit::chunks
