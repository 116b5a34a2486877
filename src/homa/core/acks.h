// Acknowledgements that a client owes to the servers of completed RPCs. They wait at the peer for a data packet that takes one
// along; when too many wait, an ACK packet takes them all. Losing one is harmless: the server asks with NEED_ACK. Source:
// homa.md 9.
#pragma once

#include <optional>

#include "homa/core/peer_table.h"

namespace godwit::homa {

// Keeps the record for later. Where there is no room: the ACK packet's content, to be sent under the header of `record` itself.
std::optional<Ack> add_ack(Peer& peer, const AckRecord& record);
// The newest one, for a data packet; an empty record if none waits.
AckRecord take_newest_ack(Peer& peer);
// All that wait, for an ACK packet.
Ack take_all_acks(Peer& peer);

}  // namespace godwit::homa
