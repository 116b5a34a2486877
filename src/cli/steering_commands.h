// The verbs of `godwit volume` that ask a host for one thing: create, list, remove, status, export, cancel. Where a process runs
// on the data directory it is asked; else the command becomes that process for a moment, without listening anywhere.
#pragma once

#include <string>

#include "cli/settings.h"

namespace godwit::cli {

struct CreateOptions {
  std::string name;
  std::string size;
  std::string kind;  // "": sparse, or device where one is named
  std::string base;
  std::string device;
  std::string block_size = "64KiB";
  std::string folder;
  std::string from_file;
};
int run_create(const Settings& settings, const CreateOptions& options);

struct NameOptions {
  std::string name;
  std::string folder;
  bool yes = false;
};
int run_list(const Settings& settings, const NameOptions& options);
int run_remove(const Settings& settings, const NameOptions& options);
int run_cancel(const Settings& settings, const NameOptions& options);

// `name`: of one volume, or "".
int run_status(const Settings& settings, const NameOptions& options);

struct ExportOptions {
  std::string name;
  std::string add;
  std::string drop;
};
int run_export(const Settings& settings, const ExportOptions& options);

}  // namespace godwit::cli
