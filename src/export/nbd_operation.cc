#include "export/nbd_operation.h"

namespace godwit::exports {

using namespace nbd;

void Operation::reply_done() {
  encode_simple_reply({0, request.cookie}, std::span(head_storage).first<kSimpleReplyBytes>());
  head_bytes = kSimpleReplyBytes;
  tail = {};
}

// One chunk is the whole reply: its header, `fixed_bytes` of the type's own fields (returned, to be filled), and a tail.
std::span<std::byte> Operation::begin_chunk(std::uint16_t type, std::size_t fixed_bytes, ConstBytes tail_bytes) {
  Chunk chunk{kChunkDone, type, request.cookie, static_cast<std::uint32_t>(fixed_bytes + tail_bytes.size())};
  encode_chunk(chunk, std::span(head_storage).first<kChunkHeaderBytes>());
  head_bytes = kChunkHeaderBytes + fixed_bytes;
  tail = tail_bytes;
  return std::span(head_storage).subspan(kChunkHeaderBytes, fixed_bytes);
}

void Operation::reply_data(ConstBytes read, bool structured) {
  if (!structured) {
    reply_done();
    tail = read;
  } else if (read.empty()) {
    begin_chunk(kChunkNone, 0, {});  // OFFSET_DATA of nothing is not allowed
  } else {
    encode_offset(request.offset, begin_chunk(kChunkOffsetData, kOffsetDataBytes, read).first<kOffsetDataBytes>());
  }
}

void Operation::reply_status(std::span<const Descriptor> row, std::uint32_t context) {
  descriptors.clear();
  for (Descriptor descriptor : row) append_descriptor(descriptors, descriptor);
  encode_context_id(context, begin_chunk(kChunkBlockStatus, kBlockStatusBytes, descriptors).first<kBlockStatusBytes>());
}

void Operation::reply_error(std::uint32_t error, std::string_view text, bool structured) {
  if (!structured) {
    encode_simple_reply({error, request.cookie}, std::span(head_storage).first<kSimpleReplyBytes>());
    head_bytes = kSimpleReplyBytes;
    tail = {};
    return;
  }
  ConstBytes tail_bytes = as_bytes(text);
  encode_error_head(error, static_cast<std::uint16_t>(text.size()),
                    begin_chunk(kChunkError, kErrorChunkBytes, tail_bytes).first<kErrorChunkBytes>());
}

}  // namespace godwit::exports
