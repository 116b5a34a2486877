// Scenes in which volumes are overlays on base images: how a simulated machine lays one on its image, and what the bytes of such
// a volume are, for checkers.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "sim/host.h"
#include "store/base_hash.h"
#include "store/memory_device.h"
#include "store/overlay_bitmap.h"
#include "store/overlay_device.h"
#include "volume/driver/volume_shelf.h"

namespace godwit::volume {

// The image that the volumes of a host lie on; those of hosts without one are plain files.
class BaseImages {
 public:
  void set(const std::string& host, Bytes image) { images_[host] = std::move(image); }
  // A planted mistake: from here on all images are said to hash alike.
  void pretend_equal() { pretending_ = true; }
  bool has(const std::string& host) const { return images_.contains(host); }

  // The item's data file becomes an overlay, where the machine has an image.
  void lay(sim::Host& machine, store::Directory& directory, ShelfItem item, net::Done<ShelfItem> done) const {
    if (!has(machine.name()) || !item.store) return done(std::move(item));
    std::unique_ptr<store::BlockDevice> base =
        std::move(*store::make_memory_device(item.record.geometry.size_bytes, machine.scheduler()));
    std::ranges::copy(images_.at(machine.name()), base->memory().begin());
    item.record.kind = Record::Kind::overlay;
    item.pristine = false;
    auto laying = std::make_shared<Laying>(Laying{std::move(base), std::move(item), std::move(done)});
    store::hash_base(*laying->base, kBlockBytes, machine.workers(), [this, &machine, &directory, laying](Result<Sha256> hash) {
      // Not within the base's own callback.
      machine.scheduler().post([&machine, &directory, laying, hash = pretending_ ? Sha256{} : *hash] {
        put_together(machine, directory, laying, hash);
      });
    });
  }
  // A new overlay: what another of its name left behind does not count.
  void lay_anew(sim::Host& machine, store::Directory& directory, ShelfItem item, net::Done<ShelfItem> done) const {
    if (!has(machine.name()) || !item.store) return done(std::move(item));
    const std::string bitmap = item.name + ".cow";
    directory.remove(bitmap, [this, &machine, &directory, item = std::move(item), done = std::move(done)](Result<void>) mutable {
      lay(machine, directory, std::move(item), std::move(done));
    });
  }

  // The bytes of a volume at a host: of its data file, or of the overlay where the bitmap names a block and of the image
  // elsewhere. `bitmap`: of a running overlay; null: the one that is on stable storage.
  Bytes content(const std::string& host, const sim::SparseBytes& data, std::uint64_t size, const Bitset* bitmap,
                const sim::DiskFile* bitmap_file) const {
    Bytes bytes(size);
    data.read(0, bytes);
    if (!has(host)) return bytes;
    const store::OverlayGeometry geometry{size, kBlockBytes};
    Bitset stored(geometry.block_count());
    if (bitmap == nullptr && bitmap_file != nullptr) {
      Bytes file(bitmap_file->size());
      bitmap_file->durable().read(0, file);
      if (Result<Bitset> blocks = store::decode_overlay_bitmap(geometry, file); blocks) stored = std::move(*blocks);
    }
    const Bitset& in_overlay = bitmap != nullptr ? *bitmap : stored;
    const Bytes& image = images_.at(host);
    for (std::uint64_t b = in_overlay.next_clear(0); b < geometry.block_count(); b = in_overlay.next_clear(b + 1)) {
      const std::uint64_t at = b * kBlockBytes, length = std::min<std::uint64_t>(kBlockBytes, size - at);
      std::copy_n(image.begin() + static_cast<std::ptrdiff_t>(at), length, bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return bytes;
  }

 private:
  static constexpr std::uint32_t kBlockBytes = 4096;
  struct Laying {
    std::unique_ptr<store::BlockDevice> base;
    ShelfItem item;
    net::Done<ShelfItem> done;
  };
  static void put_together(sim::Host& machine, store::Directory& directory, const std::shared_ptr<Laying>& laying,
                           const Sha256& hash) {
    const store::OverlayOptions options{laying->item.name + ".cow", "", kBlockBytes};
    laying->item.base_hash = hash;
    store::OverlayDevice::open(std::move(laying->base), std::move(laying->item.store), directory, machine.scheduler(), options,
                               [laying](Result<std::unique_ptr<store::OverlayDevice>> device) {
                                 if (!device) return laying->done(fail(std::move(device).error()));
                                 laying->item.overlay = device->get();
                                 laying->item.store = std::move(*device);
                                 laying->done(std::move(laying->item));
                               });
  }

  std::map<std::string, Bytes> images_;
  bool pretending_ = false;
};

}  // namespace godwit::volume
