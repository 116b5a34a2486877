// A datagram, or the first bytes of one, told to people.
#pragma once

#include <string>

#include "base/bytes.h"

namespace godwit::homa {

// "DATA 32768>99 id 2 …"; for what is no packet the reason and its first bytes. A header of DATA without its data (a trace, or a
// capture that was cut) is taken as the whole packet that it announces.
std::string describe_datagram(ConstBytes head);
// Whether it is a packet in that sense.
bool is_packet(ConstBytes head);

}  // namespace godwit::homa
