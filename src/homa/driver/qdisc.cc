#include "homa/driver/qdisc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace godwit::homa {

namespace {

constexpr int kAnswersMax = 4096;

// The kind that a message tells, if it is of that interface's root.
std::optional<std::string> kind_of(const nlmsghdr* message, int index) {
  if (message->nlmsg_type != RTM_NEWQDISC || message->nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg))) return std::nullopt;
  tcmsg about{};
  std::memcpy(&about, NLMSG_DATA(message), sizeof about);
  if (about.tcm_ifindex != index || about.tcm_parent != TC_H_ROOT) return std::nullopt;
  auto left = static_cast<int>(message->nlmsg_len - NLMSG_LENGTH(sizeof(tcmsg)));
  const char* at = static_cast<const char*>(NLMSG_DATA(message)) + NLMSG_ALIGN(sizeof(tcmsg));
  for (const auto* a = reinterpret_cast<const rtattr*>(at); RTA_OK(a, left); a = RTA_NEXT(a, left))
    if (a->rta_type == TCA_KIND)
      return std::string(static_cast<const char*>(RTA_DATA(a)), strnlen(static_cast<const char*>(RTA_DATA(a)), RTA_PAYLOAD(a)));
  return std::nullopt;
}

Result<std::string> ask(int descriptor, int index) {
  struct {
    nlmsghdr header;
    tcmsg about;
  } request{};
  request.header = {sizeof request, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, 1, 0};
  request.about.tcm_family = AF_UNSPEC;
  request.about.tcm_ifindex = index;
  if (send(descriptor, &request, sizeof request, 0) < 0) return fail(Error::from_errno(errno, "ask for queueing disciplines"));
  std::optional<std::string> kind;
  alignas(nlmsghdr) char answer[32768];
  for (int i = 0; i < kAnswersMax; ++i) {
    const ssize_t got = recv(descriptor, answer, sizeof answer, 0);
    if (got < 0) return fail(Error::from_errno(errno, "ask for queueing disciplines"));
    auto left = static_cast<unsigned>(got);
    for (const auto* m = reinterpret_cast<const nlmsghdr*>(answer); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) {
        if (kind) return *kind;
        return fail(ErrorKind::not_found, "the interface has no queueing discipline of its own");
      }
      if (std::optional<std::string> found = kind_of(m, index)) kind = found;
    }
  }
  return fail(ErrorKind::limit, "too many queueing disciplines");
}

}  // namespace

Result<std::string> root_qdisc(const std::string& interface) {
  const int index = static_cast<int>(if_nametoindex(interface.c_str()));
  if (index == 0) return fail(ErrorKind::not_found, "there is no interface named " + interface);
  const int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open a netlink socket"));
  const timeval patience{1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  Result<std::string> kind = ask(descriptor, index);
  close(descriptor);
  return kind;
}

}  // namespace godwit::homa
