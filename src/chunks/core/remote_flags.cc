#include "chunks/core/remote_flags.h"

#include <string_view>

#include <fmt/format.h>

namespace godwit::chunks {

namespace {

struct Name {
  HelloFlags flag = 0;
  std::string_view name;
};
constexpr Name kNames[] = {
    {hello::kReadableStore, "READABLE_STORE"},
    {hello::kWritableStore, "WRITABLE_STORE"},
    {hello::kReadableIndex, "READABLE_INDEX"},
    {hello::kWritableIndex, "WRITABLE_INDEX"},
    {hello::kReadableArchive, "READABLE_ARCHIVE"},
    {hello::kWritableArchive, "WRITABLE_ARCHIVE"},
    {hello::kPullChunks, "PULL_CHUNKS"},
    {hello::kPullIndex, "PULL_INDEX"},
    {hello::kPullArchive, "PULL_ARCHIVE"},
    {hello::kPushChunks, "PUSH_CHUNKS"},
    {hello::kPushIndex, "PUSH_INDEX"},
    {hello::kPushIndexChunks, "PUSH_INDEX_CHUNKS"},
    {hello::kPushArchive, "PUSH_ARCHIVE"},
};

struct Pairing {
  HelloFlags wanted = 0;
  HelloFlags offered = 0;
  std::string_view what;
};
constexpr Pairing kPairings[] = {
    {hello::kPullChunks, hello::kReadableStore, "a store to read"},
    {hello::kPullIndex, hello::kReadableIndex, "an index to read"},
    {hello::kPullArchive, hello::kReadableArchive, "an archive to read"},
    {hello::kPushChunks, hello::kWritableStore, "a store to write"},
    {hello::kPushIndex, hello::kWritableIndex, "an index to write"},
    {hello::kPushArchive, hello::kWritableArchive, "an archive to write"},
};

bool offers_both(HelloFlags flags, HelloFlags readable, HelloFlags writable) {
  return (flags & readable) != 0 && (flags & writable) != 0;
}

}  // namespace

std::string text_of_hello(HelloFlags flags) {
  std::string text;
  for (const Name& name : kNames)
    if ((flags & name.flag) != 0) text += (text.empty() ? "" : ", ") + std::string(name.name);
  if ((flags & ~hello::kAll) != 0) text += fmt::format("{}{:#x}", text.empty() ? "" : ", ", flags & ~hello::kAll);
  return text.empty() ? "nothing" : text;
}

Result<void> check_hello(HelloFlags mine, HelloFlags peers) {
  if ((peers & ~hello::kAll) != 0)
    return fail(ErrorKind::unsupported, fmt::format("the peer's HELLO holds flags of a later version: {}", text_of_hello(peers)));
  if ((peers & hello::kPushIndexChunks) != 0 &&
      (peers & (hello::kPushIndex | hello::kPushChunks)) != (hello::kPushIndex | hello::kPushChunks))
    return fail(ErrorKind::refused, "the peer's HELLO wants to push an index's chunks without the index or without chunks");
  if (offers_both(peers, hello::kReadableIndex, hello::kWritableIndex) ||
      offers_both(peers, hello::kReadableArchive, hello::kWritableArchive))
    return fail(ErrorKind::refused, "the peer's HELLO offers one file for reading and for writing");
  for (const Pairing& pair : kPairings) {
    if ((mine & pair.wanted) != 0 && (peers & pair.offered) == 0)
      return fail(
          ErrorKind::refused,
          (peers & hello::kOffers) == 0
              ? fmt::format("the remote does not offer {}, nor anything else: it is a client, or just says again what it "
                            "is told; what is to be started there is casync or godwit",
                            pair.what)
              : fmt::format("the remote does not offer {} (it offers {})", pair.what, text_of_hello(peers & hello::kOffers)));
    if ((peers & pair.wanted) != 0 && (mine & pair.offered) == 0)
      return fail(ErrorKind::refused, fmt::format("the peer wants {}, which is not offered here (offered: {})", pair.what,
                                                  text_of_hello(mine & hello::kOffers)));
  }
  if (((mine | peers) & hello::kWants) == 0) return fail(ErrorKind::refused, "neither end wants anything");
  return {};
}

}  // namespace godwit::chunks
