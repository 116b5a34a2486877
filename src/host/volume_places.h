// Where volumes lie at this host: folders of data files with their records, block devices with their records in the data
// directory, and memory. Opens, makes and removes them by local
// policy; what a peer calls a volume or a path never decides. Source: ownership.md 2 and 16.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/locked_directory.h"
#include "host/overlay_base.h"
#include "net/worker_pool.h"
#include "store/block_devices.h"
#include "volume/driver/volume_host.h"
#include "volume/driver/volume_shelf.h"

namespace godwit::host {

enum class VolumeKind : std::uint8_t { file, sparse, memory, overlay, device };
std::string_view name_of(VolumeKind kind);
Result<VolumeKind> parse_volume_kind(std::string_view text);

// A volume as a command or the configuration asks for it.
struct VolumeRequest {
  std::string name;
  std::string folder;  // "": the data directory's own
  VolumeKind kind = VolumeKind::sparse;
  std::uint64_t size_bytes = 0;  // 0: it must be there already
  std::uint32_t block_size_bytes = 64 * 1024;
  std::string base;     // overlays only: the path of what lies below, never written; "": as it was noted
  std::string device;   // of kind `device`: the path of the block device; its record is in the data directory's own folder
  std::string content;  // of a new file or sparse file: the path of what is copied into it
};

// What open_or_make() came to.
struct PlacedVolume {
  volume::ShelfItem item;
  enum class How : std::uint8_t { opened, adopted, made } how = How::opened;
};

class VolumePlaces final : public volume::CopyMaker {
 public:
  // The scheduler, the workers and the devices outlive the places. `volumes_folder` is where volumes go that nobody says more
  // about, and where the records of those on block devices are.
  VolumePlaces(net::Scheduler& scheduler, net::Workers& workers, store::BlockDevices& devices, std::string volumes_folder);
  ~VolumePlaces() override;

  // A new volume, owned here: of zeros, of a file's content, or of what is on a block device.
  void make(const volume::LocalHost& me, VolumeRequest request, Random random, net::Done<volume::ShelfItem> done);
  // A volume that has a record (how: opened), else a data file that becomes a volume (adopted), else a new one (made; only where
  // the request has a size). A file that is a block device is one of kind `device`.
  void open_or_make(const volume::LocalHost& me, VolumeRequest request, Random random, net::Done<PlacedVolume> done);
  // The names of all records in a folder ("": the data directory's own).
  void list(const std::string& folder, net::Done<std::vector<std::string>> done);
  // The record of a volume, also of one that is gone or of another host.
  void read_record(const std::string& folder, const std::string& name, net::Done<volume::Record> done);

  // Removes what is left of a closed volume: data and record, or, where others had the volume too, the data only; the record then
  // says GONE. What is on a block device stays. The folder is asked for only where this process did not open the volume.
  void remove(const volume::LocalHost& me, const std::string& folder, const std::string& name, bool keep_record,
              net::Done<void> done);
  // Path of a volume's data file or block device; "" for memory.
  std::string data_path(const std::string& name, const std::string& data_name) const;

  // Where a pull's copies go: a folder ("": the data directory's own), there as overlays on `base` where one is given, or memory.
  Result<volume::CopyMaker*> copies_into(const std::string& folder, const std::string& base = "");
  volume::CopyMaker& copies_into_memory();
  // Over what is on a block device; one copy. ErrorKind::invalid where a record could not hold its path.
  Result<volume::CopyMaker*> copies_into_device(const std::string& path);

  // CopyMaker: into the data directory's own folder; discard() and remove_data() wherever make() of any maker put it.
  void make(const volume::LocalHost& me, const std::string& name, const volume::VolumeId& id, volume::Geometry geometry,
            volume::Peer from, Random random, net::Done<volume::ShelfItem> done) override;
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override;
  void remove_data(const std::string& data_name, net::Done<void> done) override;

 private:
  class Folder;
  class Copies;
  // Where a volume that was opened or made here has its record, and what that says of its data.
  struct Home {
    Folder* folder = nullptr;
    volume::Record::Kind kind = volume::Record::Kind::file;
  };
  struct Opening;

  Result<Folder*> folder(const std::string& path);
  void make_data(Folder& folder, const volume::LocalHost& me, const VolumeRequest& request, Random random,
                 net::Done<volume::ShelfItem> done);
  static void reserve(store::BlockDevice& device, const VolumeRequest& request, net::Done<void> done);
  void fill(const std::string& content, store::BlockDevice& device, net::Done<void> done);
  void open(Folder& folder, std::shared_ptr<Opening> opening);
  void adopt(Folder& folder, std::shared_ptr<Opening> opening, bool has_bitmap, bool has_list);
  void make_on_device(const volume::LocalHost& me, const VolumeRequest& request, Random random,
                      net::Done<volume::ShelfItem> done);
  void settle(Folder& folder, const volume::ShelfItem& item);
  net::Done<volume::ShelfItem> settling(Folder& folder, net::Done<volume::ShelfItem> done);
  static void remove_overlay_files(Folder& folder, const std::string& name);
  void receive(Folder& folder, const volume::LocalHost& me, const std::string& name, const volume::VolumeId& id,
               volume::Geometry geometry, volume::Peer from, Random random, net::Done<volume::ShelfItem> done);
  void receive_over(Folder& folder, const std::string& base, const volume::LocalHost& me, const std::string& name,
                    const volume::VolumeId& id, volume::Geometry geometry, volume::Peer from, Random random,
                    net::Done<volume::ShelfItem> done);
  void receive_on_device(const std::string& device, const volume::LocalHost& me, const std::string& name,
                         const volume::VolumeId& id, volume::Geometry geometry, volume::Peer from, Random random,
                         net::Done<volume::ShelfItem> done);

  net::Scheduler& scheduler_;
  net::Workers& workers_;
  store::BlockDevices& devices_;
  OverlayBases bases_;
  std::string volumes_folder_;
  std::map<std::string, std::unique_ptr<Folder>> folders_;  // by path
  std::map<std::string, Home> homes_;                       // by volume name, of those opened or made
  std::map<std::string, std::unique_ptr<volume::CopyMaker>> copies_;
  std::unique_ptr<volume::CopyMaker> memory_copies_;
};

}  // namespace godwit::host
