// Which queueing discipline an interface has, by the kernel's own word (rtnetlink).
#pragma once

#include <string>

#include "base/error.h"

namespace godwit::homa {

// "htb", "fq_codel", "noqueue"… of the interface's root. ErrorKind::not_found, io.
Result<std::string> root_qdisc(const std::string& interface);

}  // namespace godwit::homa
