#include "base/hash.h"

#include <isa-l/crc.h>
#include <openssl/evp.h>

#include "base/check.h"

namespace godwit {

struct Sha256Stream::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

// Fetching an algorithm by name takes longer than hashing a small block; the handle is immutable and shared.
static const EVP_MD* sha256_method() {
  static EVP_MD* const method = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  GODWIT_CHECK(method != nullptr);
  return method;
}

Sha256Stream::Sha256Stream() : state_(std::make_unique<State>()) {
  GODWIT_CHECK(state_->context != nullptr);
  GODWIT_CHECK(EVP_DigestInit_ex2(state_->context, sha256_method(), nullptr) == 1);
}
Sha256Stream::~Sha256Stream() = default;
Sha256Stream::Sha256Stream(Sha256Stream&&) noexcept = default;
Sha256Stream& Sha256Stream::operator=(Sha256Stream&&) noexcept = default;

void Sha256Stream::update(ConstBytes bytes) {
  GODWIT_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Sha256 Sha256Stream::finish() {
  Sha256 digest;
  GODWIT_CHECK(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(digest.data()), nullptr) == 1);
  return digest;
}

Sha256 sha256(ConstBytes bytes) {
  Sha256Stream stream;
  stream.update(bytes);
  return stream.finish();
}

std::uint32_t crc32c(ConstBytes bytes) {
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));  // isa-l reads only
  return ~crc32_iscsi(data, static_cast<int>(bytes.size()), 0xFFFFFFFFU);
}

}  // namespace godwit
