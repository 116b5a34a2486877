#include "export/nbd_request_check.h"

#include "base/checked.h"

namespace godwit::exports {

using namespace nbd;

namespace {

// The flags a command may bear besides FUA, which all may bear, and the transmission flag that offers the command; nothing for an
// unknown one.
struct CommandRules {
  std::uint16_t flags = 0;
  std::uint16_t offered_by = 0;
  bool changes = false;
  bool bounded = false;  // by the largest block size
};

std::optional<CommandRules> rules_of(std::uint16_t type, const RequestRules& rules) {
  auto where = [&](std::uint16_t offered, std::uint16_t flag) {
    return static_cast<std::uint16_t>((rules.flags & offered) != 0 ? flag : 0);
  };
  switch (type) {
    case kRead: return CommandRules{where(kSendDf, kFlagDf), kHasFlags, false, true};
    case kWrite: return CommandRules{0, kHasFlags, true, true};
    case kFlush: return CommandRules{0, kSendFlush, false, false};
    case kTrim: return CommandRules{0, kSendTrim, true, false};
    case kCache: return CommandRules{0, kSendCache, false, false};
    case kWriteZeroes:
      return CommandRules{static_cast<std::uint16_t>(kFlagNoHole | where(kSendFastZero, kFlagFastZero)), kSendWriteZeroes, true,
                          false};
    case kBlockStatus: return CommandRules{kFlagReqOne, kHasFlags, false, false};
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<Refusal> check_request(const Request& request, const RequestRules& rules) {
  std::optional<CommandRules> command = rules_of(request.type, rules);
  if (!command) return Refusal{kErrInvalid, "unknown command"};
  // A read-only export does not offer TRIM and WRITE_ZEROES either: say the reason that helps.
  if (command->changes && (rules.flags & kReadOnly) != 0) return Refusal{kErrPermission, "the export is read-only"};
  if ((rules.flags & command->offered_by) == 0) return Refusal{kErrInvalid, "the export does not offer this command"};
  if ((request.flags & ~(command->flags | kFlagFua)) != 0) return Refusal{kErrInvalid, "a flag that this command does not take"};
  if (request.type == kFlush) return std::nullopt;  // its offset and length say nothing

  if (!within(request.offset, request.length, rules.size)) {
    bool fills = request.type == kWrite || request.type == kWriteZeroes;
    return Refusal{fills ? kErrNoSpace : kErrInvalid, "past the end of the export"};
  }
  if (((request.offset | request.length) & (rules.sizes.min - 1)) != 0)
    return Refusal{kErrInvalid, "not aligned to the export's smallest block size"};
  if (command->bounded && request.length > rules.sizes.max)
    return Refusal{kErrInvalid, "longer than the export's largest block size"};
  if (request.type == kBlockStatus) {
    if (!rules.allocation_context) return Refusal{kErrInvalid, "no metadata context was negotiated"};
    if (request.length == 0) return Refusal{kErrInvalid, "block status of nothing"};
  }
  return std::nullopt;
}

}  // namespace godwit::exports
