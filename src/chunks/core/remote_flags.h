// What the two ends of the remote protocol say of themselves in HELLO: services they offer and operations they want, and whether
// the two fit each other. Source: casync.md 2.3.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace godwit::chunks {

using HelloFlags = std::uint64_t;

namespace hello {

// Offered.
inline constexpr HelloFlags kReadableStore = 0x1;
inline constexpr HelloFlags kWritableStore = 0x2;
inline constexpr HelloFlags kReadableIndex = 0x4;
inline constexpr HelloFlags kWritableIndex = 0x8;
inline constexpr HelloFlags kReadableArchive = 0x10;
inline constexpr HelloFlags kWritableArchive = 0x20;
// Wanted.
inline constexpr HelloFlags kPullChunks = 0x40;
inline constexpr HelloFlags kPullIndex = 0x80;
inline constexpr HelloFlags kPullArchive = 0x100;
inline constexpr HelloFlags kPushChunks = 0x200;
inline constexpr HelloFlags kPushIndex = 0x400;
inline constexpr HelloFlags kPushIndexChunks = 0x800;  // the chunks of the index that is pushed
inline constexpr HelloFlags kPushArchive = 0x1000;

inline constexpr HelloFlags kOffers = 0x3f;
inline constexpr HelloFlags kWants = 0x1fc0;
inline constexpr HelloFlags kPushes = kPushChunks | kPushIndex | kPushIndexChunks | kPushArchive;
inline constexpr HelloFlags kAll = kOffers | kWants;

}  // namespace hello

// "READABLE_STORE, PULL_CHUNKS"; for messages.
std::string text_of_hello(HelloFlags flags);

// Whether this end goes on after the peer's HELLO. ErrorKind::unsupported for a flag nobody knows; ErrorKind::refused where one
// end wants what the other does not offer, where neither wants anything, or where a flag comes without those it needs. Services
// that nobody asked for are no error.
Result<void> check_hello(HelloFlags mine, HelloFlags peers);

}  // namespace godwit::chunks
