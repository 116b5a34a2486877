#include "host/host_file.h"

#include <optional>

#include <fmt/format.h>

#include "base/cursor.h"
#include "base/hash.h"

namespace godwit::host {

namespace {

constexpr std::string_view kMagic = "GODWITHO";
constexpr std::uint32_t kVersion = 1;

// Nothing: the slot is empty, torn or of another place.
Result<std::optional<HostFile>> decode_slot(ConstBytes slot, std::uint64_t offset) {
  Cursor cursor(slot);
  const ConstBytes magic = cursor.take(kMagic.size());
  const std::uint32_t version = cursor.u32_le();
  const ConstBytes id = cursor.take(16);
  const volume::Boot boot{cursor.u64_le()};
  const std::uint32_t crc = cursor.u32_le();
  if (!cursor.ok() || as_text(magic) != kMagic || crc != crc32c(slot.first(kHostSlotSize - 4))) return std::nullopt;
  if (version != kVersion)
    return fail(ErrorKind::unsupported, fmt::format("it is of version {}; this program knows version {}", version, kVersion));
  HostFile host{volume::HostId::from(id), boot};
  if (host.id.is_none() || boot.value == 0 || host_slot_offset(boot) != offset) return std::nullopt;
  return host;
}

}  // namespace

Bytes encode_host_slot(const HostFile& host) {
  Bytes slot;
  Writer writer(slot);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.bytes(host.id.view());
  writer.u64_le(host.boot.value);
  writer.u32_le(crc32c(slot));
  return slot;
}

Result<HostFile> decode_host_file(ConstBytes file) {
  if (is_zero(file)) return fail(ErrorKind::not_found, "no host has started here yet");
  std::optional<HostFile> newest;
  for (const std::uint64_t offset : {0u, 512u}) {
    if (file.size() < offset + kHostSlotSize) continue;
    Result<std::optional<HostFile>> slot = decode_slot(file.subspan(offset, kHostSlotSize), offset);
    if (!slot) return fail(std::move(slot).error());
    if (*slot && (!newest || newest->boot < (*slot)->boot)) newest = *slot;
  }
  if (!newest) return fail(ErrorKind::corrupt, "neither of its two slots can be read");
  return *newest;
}

}  // namespace godwit::host
