// Any bytes as an archive that is mapped, in pieces of any size: what the map tells lies within it, and every node can be read
// again from where the map says.
#include "chunks/core/archive_map.h"

#include <algorithm>

#include "base/check.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0];
  const ConstBytes archive = ConstBytes(reinterpret_cast<const std::byte*>(data), size).subspan(1);
  ArchiveMapper mapper([](const std::string&, std::uint64_t id, bool, bool) { return static_cast<std::uint32_t>(id); }, 1000);
  while (!mapper.is_done() && mapper.position() < archive.size()) {
    const std::uint64_t at = mapper.position();
    if (!mapper.feed(archive.subspan(at, std::min(piece, archive.size() - at)))) return 0;
    GODWIT_CHECK(mapper.is_done() || mapper.position() > at);
  }
  const Result<ArchiveMap> map = mapper.finish(archive.size());
  if (!map) return 0;
  for (ArchiveMap::Number i = 0; i < map->size(); ++i) {
    const ArchiveMapEntry& entry = (*map)[i];
    GODWIT_CHECK(entry.head_offset + mapped_head_bytes(entry) <= archive.size());
    const Result<Node> node = decode_mapped_node(entry, archive.subspan(entry.head_offset, mapped_head_bytes(entry)));
    GODWIT_CHECK(node.has_value());
    if (S_ISREG(entry.mode)) GODWIT_CHECK(entry.head_offset + entry.head_size + entry.size <= archive.size());
    if (i > 0) GODWIT_CHECK(map->find(entry.parent, map->name(i)) == i);
    for (std::uint32_t place = 0; place < entry.child_count; ++place) GODWIT_CHECK((*map)[map->child(i, place)].parent == i);
  }
  return 0;
}
