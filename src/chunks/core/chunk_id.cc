#include "chunks/core/chunk_id.h"

#include <algorithm>

#include <fmt/format.h>
#include <openssl/evp.h>

#include "base/check.h"

namespace godwit::chunks {

std::string_view name_of(Digest digest) {
  return digest == Digest::sha256 ? "sha256" : "sha512-256";
}

Result<Digest> digest_of_name(std::string_view name) {
  for (const Digest digest : {Digest::sha512_256, Digest::sha256})
    if (name == name_of(digest)) return digest;
  return fail(ErrorKind::usage, fmt::format("no digest is called \"{}\" (there are sha512-256 and sha256)", name));
}

Result<ChunkId> ChunkId::from_hex(std::string_view text) {
  const bool digits = std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (text.size() != 64 || !digits)
    return fail(ErrorKind::invalid, fmt::format("no chunk id (64 lower-case hex digits): \"{}\"", escaped(text.substr(0, 80))));
  const Result<Bytes> bytes = godwit::from_hex(text);
  ChunkId id;
  std::ranges::copy(*bytes, id.bytes.begin());
  return id;
}

// Fetching an algorithm by name takes longer than hashing a small chunk; the handles are immutable and shared.
static const EVP_MD* method_of(Digest digest) {
  static EVP_MD* const sha512_256 = EVP_MD_fetch(nullptr, "SHA512-256", nullptr);
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  const EVP_MD* const method = digest == Digest::sha256 ? sha256 : sha512_256;
  GODWIT_CHECK(method != nullptr);
  return method;
}

struct DigestStream::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

DigestStream::DigestStream(Digest digest) : state_(std::make_unique<State>()) {
  GODWIT_CHECK(state_->context != nullptr);
  GODWIT_CHECK(EVP_DigestInit_ex2(state_->context, method_of(digest), nullptr) == 1);
}
DigestStream::~DigestStream() = default;
DigestStream::DigestStream(DigestStream&&) noexcept = default;
DigestStream& DigestStream::operator=(DigestStream&&) noexcept = default;

void DigestStream::update(ConstBytes bytes) {
  GODWIT_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

void DigestStream::update_zeros(std::uint64_t count) {
  static constexpr std::array<std::byte, 16384> zeros{};
  for (; count > zeros.size(); count -= zeros.size()) update(zeros);
  update(ConstBytes(zeros).first(count));
}

ChunkId DigestStream::finish() {
  ChunkId id;
  GODWIT_CHECK(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(id.bytes.data()), nullptr) == 1);
  return id;
}

ChunkId chunk_id_of(ConstBytes data, Digest digest) {
  DigestStream stream(digest);
  stream.update(data);
  return stream.finish();
}

}  // namespace godwit::chunks
