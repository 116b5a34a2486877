#include "homa/driver/udp_socket.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "homa/driver/kernel_address.h"

namespace godwit::homa {

namespace {

// A datagram's greatest length; receptions that the kernel has put together stay below it, too.
constexpr std::size_t kSlotBytes = 65536;
// Slots that begin at the same offset of a page would fight for the same lines of the cache.
constexpr std::size_t kSlotStride = kSlotBytes + 320;
constexpr std::size_t kSegmentsMax = 44;
constexpr std::size_t kGsoBytesMax = 65507;
constexpr std::size_t kControlBytes = 96;
constexpr std::size_t kUnreachableMax = 1024;
constexpr std::size_t kWithoutGsoMax = 1024;
// Where the qdisc goes by the packet's priority (pfifo_fast does, unasked): bulk, ordinary, interactive. All that a process
// without privileges may say.
constexpr std::array<std::uint32_t, kPriorityCount> kPacketPriority = {2, 2, 2, 0, 0, 0, 6, 6};
constexpr int kErrorsPerCall = 64;
// Rounded up to a tick of the kernel's timer.
constexpr timeval kShortestTimeout = {0, 1};

template <class T>
bool set_option(int socket, int level, int name, const T& value) {
  return setsockopt(socket, level, name, &value, sizeof value) == 0;
}

std::uint32_t int_option(int socket, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(socket, SOL_SOCKET, name, &value, &size) == 0 ? static_cast<std::uint32_t>(value) : 0;
}

void append_control(msghdr& message, int level, int type, const void* value, std::size_t size) {
  auto* at = reinterpret_cast<cmsghdr*>(static_cast<char*>(message.msg_control) + message.msg_controllen);
  at->cmsg_level = level;
  at->cmsg_type = type;
  at->cmsg_len = CMSG_LEN(size);
  std::memcpy(CMSG_DATA(at), value, size);
  message.msg_controllen += CMSG_SPACE(size);
}

}  // namespace

struct UdpSocket::Receiving {
  std::unique_ptr<std::byte[]> slots{new std::byte[kBatch * kSlotStride]};  // touched where datagrams come to lie
  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, kBatch> vectors{};
  std::array<sockaddr_storage, kBatch> names{};
  struct alignas(cmsghdr) Control {
    char bytes[kControlBytes];
  };
  std::array<Control, kBatch> controls{};
  std::array<Arrived, kBatch> arrived{};

  Receiving() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {slots.get() + i * kSlotStride, kSlotBytes};
      messages[i].msg_hdr.msg_name = &names[i];
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_control = controls[i].bytes;
      reset(i);
    }
  }
  void reset(std::size_t i) {
    messages[i].msg_hdr.msg_namelen = sizeof names[i];
    messages[i].msg_hdr.msg_controllen = kControlBytes;
    messages[i].msg_hdr.msg_flags = 0;
  }
};

struct UdpSocket::Sending {
  std::array<mmsghdr, kBatch> messages{};
  std::array<iovec, 2 * kBatch> vectors{};
  std::array<KernelAddress, kBatch> names{};
  std::array<Receiving::Control, kBatch> controls{};
  std::array<std::uint16_t, kBatch> datagrams{};  // that a message carries
};

Result<std::unique_ptr<UdpSocket>> UdpSocket::open(const UdpOptions& options) {
  const bool want_ipv6 = !options.bind || !is_ipv4(*options.bind);
  bool is_v6 = want_ipv6;
  // Calls say themselves that they do not wait, those that do not: see receive().
  int descriptor = socket(want_ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0 && !options.bind && errno == EAFNOSUPPORT) {  // a system without IPv6
    is_v6 = false;
    descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  }
  if (descriptor < 0) return fail(Error::from_errno(errno, "open a UDP socket"));
  std::unique_ptr<UdpSocket> made(new UdpSocket(descriptor, is_v6, is_v6 && !options.bind, options));
  if (is_v6) set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, options.bind ? 1 : 0);
  PeerAddress at;
  if (options.bind) {
    at = *options.bind;
  } else {
    if (!is_v6) at = ipv4_address(0, 0);
    at.udp_port = options.port;
  }
  const KernelAddress name(at, is_v6);
  if (bind(descriptor, name.data(), name.size()) != 0) return fail(Error::from_errno(errno, "listen at UDP " + text_of(at)));
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &size) != 0)
    return fail(Error::from_errno(errno, "ask for the UDP socket's address"));
  made->local_ = peer_address_of(own);
  return made;
}

UdpSocket::UdpSocket(int descriptor, bool is_ipv6, bool is_dual, const UdpOptions& options)
    : descriptor_(descriptor),
      is_ipv6_(is_ipv6),
      is_dual_(is_dual),
      options_(options),
      priority_cmsg_(options.mark_priorities),
      receiving_(std::make_unique<Receiving>()),
      sending_(std::make_unique<Sending>()) {
  // Each of these makes it faster or tells more; it works without.
  const int buffer = static_cast<int>(options.buffer_bytes);
  set_option(descriptor, SOL_SOCKET, SO_RCVBUF, buffer);
  set_option(descriptor, SOL_SOCKET, SO_SNDBUF, buffer);
  receive_buffer_bytes_ = int_option(descriptor, SO_RCVBUF) / 2;  // the kernel says twice what it was asked for
  send_buffer_bytes_ = int_option(descriptor, SO_SNDBUF) / 2;
  can_wait_ = set_option(descriptor, SOL_SOCKET, SO_RCVTIMEO, kShortestTimeout);
  const bool may_be_ipv4 = !is_ipv6 || is_dual;
  if (may_be_ipv4) {
    set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, int{IP_PMTUDISC_DO});
    set_option(descriptor, IPPROTO_IP, IP_RECVERR, 1);
  }
  if (is_ipv6) {
    set_option(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER, int{IPV6_PMTUDISC_DO});
    set_option(descriptor, IPPROTO_IPV6, IPV6_RECVERR, 1);
  }
  int segment = 0;
  socklen_t size = sizeof segment;
  gso_ = options.gso && getsockopt(descriptor, IPPROTO_UDP, UDP_SEGMENT, &segment, &size) == 0;
  gro_ = options.gro && set_option(descriptor, IPPROTO_UDP, UDP_GRO, 1);
}

UdpSocket::~UdpSocket() {
  close(descriptor_);
}

// --- receiving ---

std::span<const Arrived> UdpSocket::receive(bool may_wait) {
  Receiving& in = *receiving_;
  int count = -1;
  for (int errors = 0; count < 0 && errors < kErrorsPerCall; ++errors) {
    ++counters_.receive_calls;
    const int waiting = may_wait && can_wait_ ? MSG_WAITFORONE : MSG_DONTWAIT;
    count = recvmmsg(descriptor_, in.messages.data(), kBatch, waiting, nullptr);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return {};
    if (count < 0 && errno != EINTR) drain_errors();
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; count > 0 && i < static_cast<std::size_t>(count); ++i) {
    msghdr& message = in.messages[i].msg_hdr;
    const std::size_t length = in.messages[i].msg_len;
    std::size_t segment = length;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
      int value = 0;
      std::memcpy(&value, CMSG_DATA(c), sizeof value);
      if (value > 0) segment = static_cast<std::size_t>(value);
    }
    if (segment < length) ++counters_.coalesced_receptions;
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      ++counters_.dropped_truncated;
    } else {
      counters_.datagrams_received += segment == 0 ? 1 : (length + segment - 1) / segment;
      in.arrived[kept++] = {peer_address_of(in.names[i]), ConstBytes(static_cast<std::byte*>(in.vectors[i].iov_base), length),
                            segment};
    }
    in.reset(i);
  }
  return {in.arrived.data(), kept};
}

// --- sending ---

bool UdpSocket::avoids_gso(const PeerAddress& peer) const {
  return !without_gso_.empty() && without_gso_.contains(peer.ip);
}

// Datagrams from the front that may go as one: to one peer, of one length but for the last, with one priority. Each has its own
// header, so they need not be of one message: many short calls under way at once cross the kernel together.
std::size_t UdpSocket::group_size(std::span<const OutDatagram> batch) const {
  const Transmit& first = batch.front().packet;
  if (!gso_ || batch.size() < 2 || avoids_gso(first.to)) return 1;
  const std::size_t datagram = first.header_size + first.length;
  const std::size_t most = std::min({batch.size(), kSegmentsMax, kGsoBytesMax / datagram});
  std::size_t count = 1;
  while (count < most) {
    const Transmit& next = batch[count].packet;
    const std::size_t size = next.header_size + next.length;
    if (size > datagram || next.priority != first.priority || next.to != first.to) break;
    ++count;
    if (size < datagram) break;
  }
  return count;
}

std::size_t UdpSocket::prepare(std::span<const OutDatagram> batch) {
  Sending& out = *sending_;
  std::size_t messages = 0;
  std::size_t vectors = 0;
  for (std::size_t at = 0; at < batch.size(); ++messages) {
    const std::size_t group = group_size(batch.subspan(at));
    const Transmit& first = batch[at].packet;
    out.names[messages] = KernelAddress(first.to, is_ipv6_);
    out.datagrams[messages] = static_cast<std::uint16_t>(group);
    msghdr& message = out.messages[messages].msg_hdr;
    message = {};
    message.msg_name = const_cast<sockaddr*>(out.names[messages].data());
    message.msg_namelen = out.names[messages].size();
    message.msg_iov = &out.vectors[vectors];
    for (std::size_t i = at; i < at + group; ++i) {
      const OutDatagram& datagram = batch[i];
      out.vectors[vectors++] = {const_cast<std::byte*>(datagram.packet.header.data()), datagram.packet.header_size};
      if (datagram.packet.length > 0) out.vectors[vectors++] = {const_cast<std::byte*>(datagram.data), datagram.packet.length};
    }
    message.msg_iovlen = static_cast<std::size_t>(&out.vectors[vectors] - message.msg_iov);
    message.msg_control = out.controls[messages].bytes;
    if (options_.mark_priorities) {
      const int tos = options_.priority_map[first.priority] << 5;
      is_ipv4(first.to) ? append_control(message, IPPROTO_IP, IP_TOS, &tos, sizeof tos)
                        : append_control(message, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
    }
    if (priority_cmsg_)
      append_control(message, SOL_SOCKET, SO_PRIORITY, &kPacketPriority[first.priority], sizeof kPacketPriority[0]);
    if (group > 1) {
      const auto segment = static_cast<std::uint16_t>(first.header_size + first.length);
      append_control(message, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
    if (message.msg_controllen == 0) message.msg_control = nullptr;
    at += group;
  }
  return messages;
}

std::size_t UdpSocket::send(std::span<const OutDatagram> batch) {
  batch = batch.first(std::min(batch.size(), kBatch));
  blocked_ = Blocked::no;
  retried_ = false;
  std::size_t done = 0;
  while (done < batch.size()) {
    const std::size_t messages = prepare(batch.subspan(done));
    std::size_t gone = 0;
    while (gone < messages) {
      ++counters_.send_calls;
      const int count =
          messages - gone == 1
              ? (sendmsg(descriptor_, &sending_->messages[gone].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1)
              : sendmmsg(descriptor_, &sending_->messages[gone], static_cast<unsigned>(messages - gone), MSG_DONTWAIT);
      if (count < 0) {
        if (!handle_send_error(errno, batch[done], sending_->datagrams[gone], done)) return done;
        break;  // prepared anew: what can be used may have changed
      }
      for (int i = 0; i < count; ++i, ++gone) {
        done += sending_->datagrams[gone];
        counters_.datagrams_sent += sending_->datagrams[gone];
        if (sending_->datagrams[gone] > 1) ++counters_.segmented_sends;
      }
      retried_ = false;
    }
  }
  return done;
}

bool UdpSocket::handle_send_error(int number, const OutDatagram& first, std::size_t count, std::size_t& done) {
  switch (number) {
    case EINTR: return true;
    case EAGAIN:
      ++counters_.blocked_sends;
      blocked_ = Blocked::until_writable;
      return false;
    case ENOBUFS:
    case ENOMEM:
      ++counters_.blocked_sends;
      blocked_ = Blocked::for_a_while;
      return false;
    default: break;
  }
  // It may be the answer to an earlier datagram, told at the next opportunity; or a kernel that does not know an extra of ours.
  drain_errors();
  if (!retried_) {
    retried_ = true;
    return true;
  }
  const bool may_be_extra = number == EINVAL || number == EPERM;
  if (may_be_extra && priority_cmsg_) {
    priority_cmsg_ = false;
    return true;
  }
  if (count > 1 && (number == EIO || number == EINVAL || number == EMSGSIZE || number == EOPNOTSUPP)) {
    if (without_gso_.size() < kWithoutGsoMax)
      without_gso_.insert(first.packet.to.ip);
    else
      gso_ = false;
    return true;
  }
  // This datagram will not go, now or later.
  if (number == EMSGSIZE) {
    ++counters_.dropped_too_big;
    note_unreachable({first.packet.to, CallError::unreachable, 1});
  } else {
    ++counters_.dropped_unsendable;
    const bool no_way = number == ENETUNREACH || number == EHOSTUNREACH || number == EADDRNOTAVAIL || number == EAFNOSUPPORT ||
                        number == ENETDOWN || number == EACCES;
    if (no_way) note_unreachable({first.packet.to, CallError::unreachable, 0});
  }
  done += 1;
  retried_ = false;
  return true;
}

// --- errors of the network ---

void UdpSocket::drain_errors() {
  for (int i = 0; i < kErrorsPerCall; ++i) {
    std::byte payload[64];
    iovec vector{payload, sizeof payload};
    sockaddr_storage name{};
    alignas(cmsghdr) char control[512];
    msghdr message{};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(descriptor_, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                            (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
      if (!is_error) continue;
      sock_extended_err error{};
      std::memcpy(&error, CMSG_DATA(c), sizeof error);
      if (error.ee_origin != SO_EE_ORIGIN_ICMP && error.ee_origin != SO_EE_ORIGIN_ICMP6) continue;
      const bool too_big = error.ee_errno == EMSGSIZE;
      if (too_big) ++counters_.dropped_too_big;
      note_unreachable({peer_address_of(name), error.ee_errno == ECONNREFUSED ? CallError::refused : CallError::unreachable,
                        too_big ? std::max(error.ee_info, 1U) : 0});
    }
  }
}

void UdpSocket::note_unreachable(const Unreachable& news) {
  // More than these are lost, as such messages may be in the network.
  if (unreachable_.size() < kUnreachableMax) unreachable_.push_back(news);
}

bool UdpSocket::poll_unreachable(Unreachable& out) {
  if (unreachable_.empty()) return false;
  out = unreachable_.back();
  unreachable_.pop_back();
  return true;
}

}  // namespace godwit::homa
