// An open file descriptor with one owner, and the few calls on it that the tree's walker and extractor share.
#pragma once

#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace godwit::chunks {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }

  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  void reset() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

// From errno, with what was tried and the name made fit for a terminal: "open 'a b': No such file or directory".
Error errno_error(std::string_view what, std::string_view name);

struct DirectoryName {
  std::string name;
  unsigned char type = 0;  // DT_…, DT_UNKNOWN where the file system does not say
};
// All but "." and "..", sorted bytewise.
Result<std::vector<DirectoryName>> read_directory(int folder, std::string_view path);

// "/proc/self/fd/7": reaches the node of an O_PATH descriptor where a call takes only a path.
std::string path_of_descriptor(int number);

// Lets this process have as many descriptors as it may: a walk holds one per level of depth.
void raise_descriptor_limit();

}  // namespace godwit::chunks
