// `godwit image attach`: a blob, by its index or itself, as a read-only block device of this machine's kernel, until it is
// disconnected or told to end.
#pragma once

#include <string>

#include "cli/image_view.h"

namespace godwit::cli {

struct AttachOptions {
  std::string image;
  std::string device;  // "": the first /dev/nbdN that is free
  std::string what;    // "": by the image's name
  ImageViewOptions view;
};

int run_image_attach(const Settings& settings, const AttachOptions& options);

}  // namespace godwit::cli
