// What an overlay lies on: the image below it is found again by the overlay's note of it (NAME.cow.base), hashed where that is
// not known, and refused where it is not the image that the overlay's blocks were written over. Format and rules:
// docs/formats/base-hash.md; source: ownership.md 16, "Base".
#pragma once

#include <string>

#include "net/scheduler.h"
#include "net/worker_pool.h"
#include "store/directory.h"
#include "volume/driver/volume_shelf.h"

namespace godwit::host {

// What the blocks that the overlay has so far are worth.
enum class OverlayBlocks : std::uint8_t {
  count,    // they and the base's together are the volume: the base must be the one noted
  are_none  // nothing is the volume's yet (made now, or being received): any base will do
};

class OverlayBases {
 public:
  // Both outlive it and what it opens.
  OverlayBases(net::Scheduler& scheduler, net::Workers& workers) : scheduler_(scheduler), workers_(workers) {}

  // Lays the item's store, the overlay's data file in `folder`, on its base: the image at `named`, or, where that is empty, the
  // one noted. The item then has the overlay and the base's hash, and the note says where the base is. Errors: usage where nobody
  // says what the base is, refused where it has changed, not_found, invalid (another size), corrupt (the note, and no `named`),
  // unsupported (a newer note).
  void lay(store::Directory& folder, const std::string& named, OverlayBlocks blocks, volume::ShelfItem item,
           net::Done<volume::ShelfItem> done);

 private:
  struct Laying;
  void open_base(std::shared_ptr<Laying> laying);
  void check(std::shared_ptr<Laying> laying, const Sha256& hash);
  void put_together(std::shared_ptr<Laying> laying);

  net::Scheduler& scheduler_;
  net::Workers& workers_;
};

// The files that an overlay has beside its data file.
inline constexpr std::string_view kOverlayEndings[] = {".cow", ".cow.base", ".state"};

}  // namespace godwit::host
