// The compressed forms of a WriteAt's bytes: run-length, gzip, zeroes with ranges. Source: silo.md 5.2.
// Decoders take any legal mixture, stop at the bound (bombs), and never write past `into`.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "volume/core/packet.h"

namespace godwit::volume {

// Appends the form's payload (what follows the offset; for zeroes what follows the decoded length).
void encode_rle(ConstBytes data, Bytes& out);
void encode_gzip(ConstBytes data, Bytes& out);    // fastest level
void encode_zeroes(ConstBytes data, Bytes& out);  // nothing at all for all-zero data

// How many bytes the payload decodes to, without keeping them; an error when it is malformed or more than `bound`.
Result<std::uint64_t> decoded_length(const WriteData& write, std::uint64_t bound);

// What a gzip payload says of its decoded length: a hint for the memory to decode it in, at most `bound` and never more than a
// payload of its size could hold. A liar, or one of several members, says too little or too much.
std::uint64_t hinted_gzip_length(ConstBytes payload, std::uint64_t bound);

// Decodes into `into`, whose size must be exactly the decoded length (as decoded_length() said).
Result<void> decode_form(const WriteData& write, MutableBytes into);

// Decodes into the beginning of `into`, in one pass; how many bytes that were. An error when it is malformed or more than fits:
// then `into` may hold part of it.
Result<std::uint64_t> decode_form_within(const WriteData& write, MutableBytes into);

// For form zeroes: whether no range follows, i.e. all decoded bytes are zero. No memory is needed for such a write.
inline bool is_all_zeroes(const WriteData& write) {
  return write.form == WriteForm::zeroes && write.payload.empty();
}

}  // namespace godwit::volume
