#include "cli/image_commands.h"

#include <memory>

#include <CLI/CLI.hpp>

#include "cli/tree_commands.h"

namespace godwit::cli {
namespace {

Result<std::unique_ptr<chunks::ArchiveBytes>> open_no_index(const std::string& index) {
  return fail(ErrorKind::unsupported, "'" + escaped(index) + "': archive indexes cannot be read yet");
}

struct ImageOptions {
  TreeOptions tree;
  std::string archive;
  std::string path = ".";
  std::string subpath;
};

}  // namespace

void add_image_commands(CLI::App& app, const Settings& settings, std::function<int()>& command) {
  CLI::App* group = app.add_subcommand("image", "content-addressed images: archives of trees");
  group->require_subcommand(1);
  add_tree_commands(*group, settings.json, command, open_no_index);

  auto make_options = std::make_shared<ImageOptions>();
  CLI::App* make = group->add_subcommand("make", "an archive of a folder");
  make->add_option("ARCHIVE", make_options->archive, "what to make: NAME.catar")->required();
  make->add_option("PATH", make_options->path, "the folder")->capture_default_str();
  add_archive_options(*make, make_options->tree);
  make->callback([=, &settings, &command] {
    command = [=, &settings] {
      Console console(settings.json);
      return run_tree_make(console, make_options->tree, make_options->archive, make_options->path);
    };
  });

  auto extract_options = std::make_shared<ImageOptions>();
  CLI::App* extract = group->add_subcommand("extract", "a folder of an archive");
  extract->add_option("ARCHIVE", extract_options->archive, "NAME.catar")->required();
  extract->add_option("PATH", extract_options->path, "the folder")->capture_default_str();
  extract->add_option("SUBPATH", extract_options->subpath, "only this node of the archive, into PATH");
  add_extract_options(*extract, extract_options->tree);
  extract->callback([=, &settings, &command] {
    command = [=, &settings] {
      Console console(settings.json);
      Result<TreeInput> input =
          TreeInput::open(extract_options->archive, extract_options->subpath, extract_options->tree, open_no_index);
      if (!input) return console.error(input.error());
      return run_tree_extract(console, extract_options->tree, std::move(*input), extract_options->path);
    };
  });

  auto digest_options = std::make_shared<ImageOptions>();
  CLI::App* digest = group->add_subcommand("digest", "the digest of an archive's bytes");
  digest->add_option("ARCHIVE", digest_options->archive, "an archive or folder (default: this folder)");
  digest->add_option("SUBPATH", digest_options->subpath, "only this node of the archive");
  add_archive_options(*digest, digest_options->tree);
  digest->callback([=, &settings, &command] {
    command = [=, &settings] {
      Console console(settings.json);
      Result<TreeInput> input = TreeInput::open(digest_options->archive.empty() ? "." : digest_options->archive,
                                                digest_options->subpath, digest_options->tree, open_no_index);
      if (!input) return console.error(input.error());
      return run_tree_digest(console, std::move(*input));
    };
  });
}

}  // namespace godwit::cli
