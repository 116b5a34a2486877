// `godwit image serve`: indexes, archives and chunk stores over HTTP or HTTPS, read-only.
#pragma once

#include <string>

#include "cli/settings.h"

namespace godwit::cli {

struct ImageServeOptions {
  std::string folder;
  std::string listen = "127.0.0.1:8080";
  bool insecure = false;
  std::string certificate, key;  // PEM files; "": plain HTTP
};

int run_image_serve(const Settings& settings, const ImageServeOptions& options);

}  // namespace godwit::cli
