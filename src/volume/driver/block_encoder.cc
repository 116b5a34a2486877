#include "volume/driver/block_encoder.h"

#include <cstring>

#include "volume/core/block_form.h"

namespace godwit::volume {

static EncodedBlock by_hash(DeviceId device, TxId tx, std::uint64_t offset, std::uint64_t length, const Sha256& hash) {
  EncodedBlock out;
  out.form = WriteForm::by_hash;
  encode_frame(device, tx,
               WriteByHash{HashLocation::s3, static_cast<std::int64_t>(offset), static_cast<std::int64_t>(length), hash},
               out.head);
  return out;
}

std::optional<std::pair<std::uint64_t, std::uint32_t>> BlockEncoder::find_hash(const Sha256& hash) const {
  const auto it = announced_.find(hash);
  return it == announced_.end() ? std::nullopt : std::optional(it->second);
}

EncodedBlock BlockEncoder::encode_zeroes_run(DeviceId device, TxId tx, std::uint64_t offset, std::uint64_t length) {
  EncodedBlock out;
  out.form = WriteForm::zeroes;
  encode_frame(device, tx, WriteData{WriteForm::zeroes, static_cast<std::int64_t>(offset), length, {}}, out.head);
  return out;
}

EncodedBlock BlockEncoder::encode_mapped(DeviceId device, TxId tx, std::uint64_t offset, const AddressMap& map, net::Lease data) {
  EncodedBlock out;
  out.buffer = std::move(data);
  out.payload = out.buffer.bytes();
  encode_frame_head(device, tx,
                    WriteAtWithMap{static_cast<std::int64_t>(offset), map.within(offset, out.payload.size()), out.payload},
                    out.head);
  return out;
}

EncodedBlock BlockEncoder::encode(DeviceId device, TxId tx, std::uint64_t offset, net::Lease data) {
  const ConstBytes bytes = data.bytes();
  if (policy_.hash_only || !alternates_.empty()) {
    const Sha256 hash = sha256(bytes);
    const auto known = alternates_.find(offset);
    const bool elsewhere = known != alternates_.end() && known->second.length == static_cast<std::int64_t>(bytes.size()) &&
                           known->second.hash == hash;
    if (policy_.hash_only) announced_[hash] = {offset, static_cast<std::uint32_t>(bytes.size())};
    if (policy_.hash_only || elsewhere) return by_hash(device, tx, offset, bytes.size(), hash);
  }
  EncodedBlock out;
  scratch_.clear();
  const bool zero = is_zero(bytes);
  WriteForm form = zero ? WriteForm::zeroes : policy_.form;
  if (form == WriteForm::rle) encode_rle(bytes, scratch_);
  if (form == WriteForm::gzip) encode_gzip(bytes, scratch_);
  if (form == WriteForm::zeroes && !zero) encode_zeroes(bytes, scratch_);
  if (!zero && (form == WriteForm::raw || scratch_.size() >= bytes.size())) form = WriteForm::raw;
  out.form = form;
  WriteData write{form, static_cast<std::int64_t>(offset), form == WriteForm::zeroes ? bytes.size() : 0, bytes};
  out.buffer = std::move(data);
  if (form != WriteForm::raw) {
    // The compressed bytes go where the plain ones were: they are shorter.
    if (!scratch_.empty()) std::memcpy(out.buffer.bytes().data(), scratch_.data(), scratch_.size());
    write.payload = ConstBytes(out.buffer.bytes()).first(scratch_.size());
  }
  out.payload = write.payload;
  encode_frame_head(device, tx, write, out.head);
  return out;
}

}  // namespace godwit::volume
