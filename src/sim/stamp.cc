#include "sim/stamp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"

namespace godwit::sim {

namespace {

struct Sector {
  std::uint32_t checksum;  // of all that follows
  std::uint32_t writer;
  std::uint64_t sequence;
  std::uint64_t block;
  std::uint64_t place;
};
static_assert(sizeof(Sector) == 32);

std::uint32_t checksum_of(ConstBytes sector) {
  return crc32c(sector.subspan(sizeof(std::uint32_t)));
}

Sector header_of(ConstBytes sector) {
  Sector header;
  std::memcpy(&header, sector.data(), sizeof(header));
  return header;
}

}  // namespace

void put_stamp(const Stamp& stamp, MutableBytes block) {
  GODWIT_CHECK(stamp.sequence > 0 && block.size() % kStampBytes == 0);
  for (std::size_t place = 0; place * kStampBytes < block.size(); ++place) {
    const MutableBytes sector = block.subspan(place * kStampBytes, kStampBytes);
    Sector header{0, stamp.writer, stamp.sequence, stamp.block, place};
    std::memcpy(sector.data(), &header, sizeof(header));
    Random filler(stamp.sequence ^ (stamp.block << 20) ^ (std::uint64_t{place} << 50));
    for (std::size_t at = sizeof(header); at < kStampBytes; at += 8) {
      const std::uint64_t word = filler.next();
      std::memcpy(sector.data() + at, &word, sizeof(word));
    }
    header.checksum = checksum_of(sector);
    std::memcpy(sector.data(), &header, sizeof(header));
  }
}

Result<std::vector<std::uint64_t>> find_sequences(ConstBytes bytes, std::uint32_t writer, std::uint64_t block) {
  std::vector<std::uint64_t> found;
  for (std::size_t place = 0; place * kStampBytes < bytes.size(); ++place) {
    const ConstBytes sector = bytes.subspan(place * kStampBytes, kStampBytes);
    const Sector header = header_of(sector);
    if (!is_zero(sector)) {
      if (header.checksum != checksum_of(sector)) return fail(ErrorKind::corrupt, fmt::format("sector {} is garbage", place));
      if (header.writer != writer || header.block != block || header.place != place || header.sequence == 0) {
        return fail(ErrorKind::corrupt, fmt::format("block {} sector {}: holds sector {} of block {}, writer {}, sequence {}",
                                                    block, place, header.place, header.block, header.writer, header.sequence));
      }
    }
    if (std::find(found.begin(), found.end(), header.sequence) == found.end()) found.push_back(header.sequence);
  }
  return found;
}

}  // namespace godwit::sim
