// `godwit image export`: a blob by its index to NBD clients, read-only, its chunks fetched when they are read.
#pragma once

#include <string>
#include <vector>

#include "cli/image_view.h"

namespace godwit::cli {

struct ExportCommandOptions {
  std::string index;
  ImageViewOptions view;
  std::vector<std::string> nbd;  // none: 127.0.0.1:10809
  std::string name;              // "": the index's, without its suffix
  bool insecure = false;
};

int run_image_export(const Settings& settings, const ExportCommandOptions& options);

}  // namespace godwit::cli
