#include "cli/image_view.h"

#include <filesystem>
#include <utility>

#include "cli/image_places.h"
#include "host/quantity.h"

namespace godwit::cli {

Result<std::unique_ptr<ImageView>> ImageView::open(ImageRun& run, const std::string& index, const ImageViewOptions& options,
                                                   const Log& log) {
  chunks::BlobViewOptions view_options;
  const Result<std::uint64_t> cache = host::parse_byte_count(options.cache);
  if (!cache) return fail(ErrorKind::usage, cache.error().within("--cache").message());
  view_options.cache_bytes_max = *cache;
  Result<OpenImage> image = open_image(index, options.store, run);
  if (!image) return fail(std::move(image).error());
  auto view = std::make_unique<ImageView>();
  view->store_ = std::move(image->store);
  view->blob_ = std::make_unique<chunks::BlobView>(image_name_of(index), std::move(image->index), *view->store_, run.loop(),
                                                   view_options, log);
  return view;
}

std::string image_name_of(const std::string& index) {
  const std::string place = index.substr(0, index.find_first_of("?;"));
  const std::string name = std::filesystem::path(place.substr(place.rfind(':') + 1)).stem().string();
  return name.empty() || name == "-" ? "image" : name;
}

}  // namespace godwit::cli
