#include "host/config.h"

#include <fstream>

#include <gtest/gtest.h>

namespace godwit::host {
namespace {

TEST(Config, NamesVolumesOfEveryKind) {
  const Result<Config> config = parse_config(R"(
listen = "127.0.0.1:6000"
nbd = ["unix:/run/x", "127.0.0.1:10809"]
metrics = "127.0.0.1:9170"
insecure = true
[[volume]]
path = "images/disk.img"
[[volume]]
name = "data"
kind = "file"
size = "20GiB"
block_size = "1MiB"
[[volume]]
name = "scratch"
kind = "memory"
size = 4096
[[volume]]
name = "guest"
folder = "/srv/images"
kind = "overlay"
base = "debian.img"
[[volume]]
name = "db"
device = "/dev/vg/db"
[[volume]]
name = "known"
kind = "overlay"
)",
                                             "/etc/godwit", "volumes.toml");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->listen, "127.0.0.1:6000");
  EXPECT_EQ(config->nbd, (std::vector<std::string>{"unix:/run/x", "127.0.0.1:10809"}));
  EXPECT_EQ(config->metrics, "127.0.0.1:9170");
  EXPECT_TRUE(config->insecure);
  ASSERT_EQ(config->volumes.size(), 6u);
  EXPECT_EQ(config->volumes[0].name, "disk.img");
  EXPECT_EQ(config->volumes[0].folder, "/etc/godwit/images");
  EXPECT_EQ(config->volumes[0].size_bytes, 0u);
  EXPECT_EQ(config->volumes[1].kind, VolumeKind::file);
  EXPECT_EQ(config->volumes[1].size_bytes, 20ull << 30);
  EXPECT_EQ(config->volumes[1].block_size_bytes, 1u << 20);
  EXPECT_EQ(config->volumes[2].kind, VolumeKind::memory);
  EXPECT_EQ(config->volumes[2].block_size_bytes, 65536u);
  EXPECT_EQ(config->volumes[3].folder, "/srv/images");
  EXPECT_EQ(config->volumes[3].base, "/etc/godwit/debian.img");
  EXPECT_EQ(config->volumes[4].kind, VolumeKind::device);
  EXPECT_EQ(config->volumes[4].device, "/dev/vg/db");
  EXPECT_EQ(config->volumes[5].base, "") << "its note says what it is";
}

TEST(Config, AnEmptyFileLeavesEverythingToTheCommandLine) {
  const Result<Config> config = parse_config("", "/", "c");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->volumes.empty());
  EXPECT_TRUE(config->listen.empty());
}

TEST(Config, WhatIsWrongIsSaidWithItsLine) {
  const struct {
    std::string_view name;
    std::string_view text;
    std::string_view said;
  } rows[] = {
      {"no TOML", "listen = \n", "c:1: "},
      {"an unknown setting", "\nlisden = \"x\"\n", "c:2: there is no setting \"lisden\" here; known are: insecure, listen"},
      {"an unknown setting of a volume", "[[volume]]\nname=\"a\"\nsise=1\n", "c:3: there is no setting \"sise\""},
      {"a number for a text", "listen = 5170\n", "c:1: listen must be a text"},
      {"an empty text", "listen = \"\"\n", "c:1: listen must be a text"},
      {"a text for a flag", "insecure = \"yes\"\n", "c:1: insecure must be true or false"},
      {"a text for a list", "nbd = \"unix:/x\"\n", "c:1: nbd must be a list"},
      {"numbers in a list", "nbd = [1]\n", "c:1: nbd must be a list"},
      {"a size that is none", "[[volume]]\nname=\"a\"\nsize=\"big\"\n", "c:3: \"big\" is no size"},
      {"a block size out of its limits", "[[volume]]\nname=\"a\"\nblock_size=\"1KiB\"\n", "c:3: block size 1KiB"},
      {"an unknown kind", "[[volume]]\nname=\"a\"\nkind=\"tape\"\n", "c:3: \"tape\" is no kind"},
      {"a name that is none", "[[volume]]\nname=\"a/b\"\n", "c:1: the volume name"},
      {"a name that ends like ours", "[[volume]]\nname=\"a.own\"\n", "c:1: the volume name"},
      {"neither name nor path", "[[volume]]\n", "c:1: the volume name"},
      {"name and path", "[[volume]]\nname=\"a\"\npath=\"b\"\n", "c:1: a volume has a path, or a name"},
      {"memory without a size", "[[volume]]\nname=\"a\"\nkind=\"memory\"\n", "c:1: a volume in memory needs a size"},
      {"a device without a path", "[[volume]]\nname=\"a\"\nkind=\"device\"\n", "c:1: a volume of kind device needs its device"},
      {"a device in a folder", "[[volume]]\nname=\"a\"\ndevice=\"/dev/x\"\nfolder=\"/b\"\n",
       "c:1: the record of a volume on a device"},
      {"a device for a file", "[[volume]]\nname=\"a\"\nkind=\"file\"\ndevice=\"/dev/x\"\n", "c:1: only a volume of kind device"},
      {"a base without an overlay", "[[volume]]\nname=\"a\"\nbase=\"b\"\n", "c:1: only an overlay has a base"},
      {"two of one name", "[[volume]]\nname=\"a\"\n[[volume]]\nname=\"a\"\n", "c:3: there is another volume a above"},
      {"a table for the list", "[volume]\nname=\"a\"\n", "volumes are written as [[volume]]"},
  };
  for (const auto& row : rows) {
    const Result<Config> config = parse_config(row.text, "/", "c");
    ASSERT_FALSE(config) << row.name;
    EXPECT_EQ(config.error().kind(), ErrorKind::usage) << row.name;
    EXPECT_TRUE(config.error().message().find(row.said) != std::string::npos) << row.name << ": " << config.error().message();
  }
}

TEST(Config, TheExampleInTheGuideIsRead) {
  const Result<Config> config = read_config(GODWIT_TESTDATA "/../../../docs/guide/volumes.toml");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->volumes.size(), 5u);
  EXPECT_FALSE(config->insecure);
}

TEST(Config, AFileThatIsNotThereIsNamed) {
  const Result<Config> config = read_config("/nowhere/volumes.toml");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error().message().find("/nowhere/volumes.toml"), std::string::npos);
}

}  // namespace
}  // namespace godwit::host
