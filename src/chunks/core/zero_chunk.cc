#include "chunks/core/zero_chunk.h"

#include "chunks/core/cut_rule.h"

namespace godwit::chunks {

ZeroChunk::ZeroChunk(const IndexHeader& header) {
  const Result<CutRule> rule = CutRule::of(header.sizes);
  if (!rule) return;
  length_ = rule->zero_chunk_size();
  DigestStream zeros(header.digest());
  zeros.update_zeros(length_);
  id_ = zeros.finish();
}

}  // namespace godwit::chunks
