// Cuts a stream into chunks. CutWalker is the serial part: it walks over candidates that were found anywhere, by any number of
// threads. Chunker is both parts in one, for a stream that one thread reads; it does not look where no cut can be. Both give the
// same cuts for any split of the input. Source: casync.md 3.4.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/candidate_scan.h"
#include "chunks/core/cut_rule.h"

namespace godwit::chunks {

class CutWalker {
 public:
  explicit CutWalker(const CutRule& rule) : rule_(rule) {}

  // The stream is known up to `end`; `candidates` are all offsets of (the last `end`, `end`] at which the hash hits, rising.
  // Appends the cuts, as offsets in the stream. A candidate that comes too early after a cut is not one.
  void advance(std::uint64_t end, std::span<const std::uint64_t> candidates, std::vector<std::uint64_t>& cuts);
  // The stream has ended: appends its end, unless that is a cut already or the stream is empty.
  void finish(std::vector<std::uint64_t>& cuts);

  std::uint64_t chunk_start() const { return chunk_start_; }
  std::uint64_t end() const { return end_; }

 private:
  CutRule rule_;
  std::uint64_t chunk_start_ = 0;
  std::uint64_t end_ = 0;
};

class Chunker {
 public:
  explicit Chunker(const CutRule& rule) : Chunker(rule, scan_variants().back()) {}
  Chunker(const CutRule& rule, ScanVariant variant) : rule_(rule), scan_(rule, variant) { tail_.reserve(2 * kWindowBytes); }

  // The next bytes of the stream, as many as there are; appends the cuts within them and at their end, as offsets in the stream.
  void feed(ConstBytes bytes, std::vector<std::uint64_t>& cuts);
  void finish(std::vector<std::uint64_t>& cuts);

 private:
  // The cut of the open chunk within `bytes`, whose first byte is at `base`, or 0. Looks from scanned_ on.
  std::uint64_t next_cut(std::uint64_t base, ConstBytes bytes);
  void take(std::uint64_t base, ConstBytes bytes, std::vector<std::uint64_t>& cuts);

  CutRule rule_;
  CandidateScan scan_;
  Bytes tail_;  // the last bytes of what came before, less than a window
  std::uint64_t end_ = 0;
  std::uint64_t chunk_start_ = 0;
  std::uint64_t scanned_ = 0;  // positions up to here, itself included, are decided
  std::vector<std::uint32_t> found_;
};

}  // namespace godwit::chunks
