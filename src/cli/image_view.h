// What `image export`, `attach` and `mount` have in common: an index and its stores, opened as a view that is read anywhere.
#pragma once

#include <memory>
#include <string>

#include "chunks/driver/blob_view.h"
#include "cli/image_run.h"

namespace godwit::cli {

struct ImageViewOptions {
  StoreOptions store;
  std::string cache = "64MiB";
};

// A view and the stores it reads from.
class ImageView {
 public:
  // `run` outlives it. Failed chunks are told to `log`.
  static Result<std::unique_ptr<ImageView>> open(ImageRun& run, const std::string& index, const ImageViewOptions& options,
                                                 const Log& log);

  chunks::BlobView& blob() { return *blob_; }

 private:
  std::unique_ptr<chunks::ChunkStore> store_;
  std::unique_ptr<chunks::BlobView> blob_;
};

// The last element of an index's place, without its suffix: "disk" for host:/srv/disk.caibx.
std::string image_name_of(const std::string& index);

}  // namespace godwit::cli
