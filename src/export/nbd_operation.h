// One request from its arrival until its reply has been sent: what it was, the buffer it holds, and its reply as a head and a
// tail ready to be gathered. Operations are reused, so that a request costs no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "export/nbd_protocol.h"
#include "export/nbd_request_check.h"
#include "net/buffer_pool.h"

namespace godwit::exports {

class NbdConnection;

struct Operation {
  NbdConnection* connection = nullptr;  // outlives it
  nbd::Request request;
  std::uint64_t cost_bytes = 0;
  net::Lease buffer;   // of the payload, or of what is read
  ConstBytes payload;  // of a write: in `buffer`
  MutableBytes data;   // of a read: in `buffer`, or the device's own memory
  std::optional<Refusal> refusal;
  bool flushes = false;  // the request itself is done; a flush of its own makes it durable

  std::array<std::byte, nbd::kChunkHeadBytesMax> head_storage;
  std::size_t head_bytes = 0;
  ConstBytes tail;  // into buffer, the device's memory, descriptors or a static text
  Bytes descriptors;

  ConstBytes head() const { return ConstBytes(head_storage).first(head_bytes); }

  // The reply of everything that bears no data.
  void reply_done();
  // `read` lives until the reply has been sent. READ is answered by a chunk once structured replies were agreed.
  void reply_data(ConstBytes read, bool structured);
  void reply_status(std::span<const nbd::Descriptor> row, std::uint32_t context);
  // `text` is static.
  void reply_error(std::uint32_t error, std::string_view text, bool structured);

 private:
  std::span<std::byte> begin_chunk(std::uint16_t type, std::size_t fixed_bytes, ConstBytes tail_bytes);
};

}  // namespace godwit::exports
