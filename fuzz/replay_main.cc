// Gives every file of a corpus to a fuzz target, without libFuzzer: what the fuzzers found stays a plain test of every build.
// Usage: replay_NAME FOLDER. A failure is the target's own crash, with the file's name said before.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void replay(const std::vector<std::uint8_t>& input, const char* name) {
  std::printf("%s (%zu bytes)\n", name, input.size());
  std::fflush(stdout);  // before the crash that it may lead to
  LLVMFuzzerTestOneInput(input.data(), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: replay_NAME FOLDER\n", stderr);
    return 2;
  }
  replay({}, "no bytes at all");
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_directory(argv[1])) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::uint8_t> input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    replay(input, path.c_str());
  }
  return 0;
}
