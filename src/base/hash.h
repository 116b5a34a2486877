// SHA-256 (OpenSSL) and CRC32C (isa-l). Thread-safe: a call owns all of its state.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace godwit {

using Sha256 = std::array<std::byte, 32>;

Sha256 sha256(ConstBytes bytes);

// For what does not lie in memory as a whole.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept;
  Sha256Stream& operator=(Sha256Stream&&) noexcept;
  void update(ConstBytes bytes);
  // Gives the digest once; the stream is then spent.
  Sha256 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// CRC-32C (Castagnoli), the usual reflected form with initial and final complement.
std::uint32_t crc32c(ConstBytes bytes);

}  // namespace godwit
