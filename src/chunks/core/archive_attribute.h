// One attribute record of a node, decoded into the node: what stands between ENTRY and the content. Which records may stand where
// is archive_decoder.h's business; here, what each of them may hold. Source: casync.md 6.1, 6.3.
#pragma once

#include "chunks/core/archive_node.h"

namespace godwit::chunks {

// desync's feature flags. Its archives hold every attribute as an XATTR, in any order, with a zero byte behind each value.
inline constexpr FeatureFlags kDesyncArchiveFlags = 0xb000000010001f22;

// The place of an attribute record among those of a node, 1 and up; 0 for a record of another kind. Records of one rank may
// repeat only where `may_repeat` says so.
unsigned rank_of_attribute(RecordType type);
bool may_repeat(RecordType type);

// The most bytes a record of this type may have, its head included; 0 where the type sets no limit (PAYLOAD, GOODBYE) or is
// unknown. The least is kRecordHeadSize + 1.
std::size_t record_size_max(RecordType type);

// The body of ENTRY into a fresh node. ErrorKind::invalid, unsupported (features).
Result<Node> decode_entry(ConstBytes body);
// The body of an attribute record, of SYMLINK or of DEVICE, into `node`. ErrorKind::invalid with the reason.
Result<void> decode_attribute(RecordType type, ConstBytes body, Node& node);

// Text with its zero byte at the end and nowhere else.
Result<std::string_view> decode_text(ConstBytes body);

// Takes the kernel's own attributes that desync stored as XATTRs for what they are: capabilities, ACLs, a label. Those that no
// archive keeps are dropped. ErrorKind::invalid for such bytes that are not what their name says.
Result<void> adopt_kernel_attributes(Node& node);

}  // namespace godwit::chunks
