// Byte counts as people write them: "64KiB", "10G", "1048576"; and as they like to read them. K, M, G and T mean powers of 1024,
// with or without "iB" behind them; "kB", "MB" … powers of 1000.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace godwit::host {

// ErrorKind::usage for anything else, zero included.
Result<std::uint64_t> parse_byte_count(std::string_view text);

// "1.5 GiB", "312 B".
std::string text_of_bytes(std::uint64_t bytes);

// A volume's block size: a power of two from 4 KiB to 4 MiB, else ErrorKind::usage.
Result<std::uint32_t> parse_block_size(std::string_view text);

}  // namespace godwit::host
