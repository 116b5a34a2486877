/* Homa for C: messages over UDP, with calls shaped like those of Homa's kernel module, so that programs written for it are soon
 * moved over. A `struct homa` is one UDP socket with one Homa port. It has no thread: packets move while one of these functions
 * runs, so a program that waits should wait in homa_recv(). One thread at a time may use it.
 *
 * Functions give -1 and set errno when they fail, as system calls do. Nothing is authenticated or encrypted.
 * For C++ there is more in <godwit/homa.hpp>. */
#ifndef GODWIT_HOMA_H
#define GODWIT_HOMA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GODWIT_HOMA_EXPORT __attribute__((visibility("default")))
#else
#define GODWIT_HOMA_EXPORT
#endif

/* The longest message, in bytes. The shortest has one. */
#define HOMA_MAX_MESSAGE_LENGTH 1000000

struct homa;

/* Where a message comes from or goes to: the host's address with its UDP port, and a Homa port (in host order) there. */
struct homa_address {
  struct sockaddr_storage udp;
  uint16_t homa_port;
};

/* What homa_recv() shall wait for, and how. */
enum {
  HOMA_RECV_REQUEST = 1,
  HOMA_RECV_RESPONSE = 2,
  HOMA_RECV_NONBLOCKING = 4,
};

/* `bind_address` is "HOST", "HOST:PORT" or, for all addresses and any UDP port, NULL. `homa_port` is 1 to 32767 for a server, 0 for
 * a program that only makes calls. NULL and errno: EINVAL, EADDRINUSE, or what opening a socket brought. */
GODWIT_HOMA_EXPORT struct homa *homa_open(const char *bind_address, uint16_t homa_port);
/* What is under way ends without a word. */
GODWIT_HOMA_EXPORT void homa_close(struct homa *homa);

/* Fills `address` from "HOST" or "HOST:PORT" (9160 if none is given) by the system's resolver. EINVAL, ENOENT. */
GODWIT_HOMA_EXPORT int homa_resolve(const char *host, uint16_t homa_port, struct homa_address *address);
/* Our own. */
GODWIT_HOMA_EXPORT int homa_getsockname(const struct homa *homa, struct homa_address *address);

/* Begins a call: a request of `length` bytes, which are copied. Its number goes to `*id` (unless NULL); `cookie` comes back with the
 * response. EINVAL, EMSGSIZE, EAGAIN (too much is under way; receive first). */
GODWIT_HOMA_EXPORT int homa_send(struct homa *homa, const void *request, size_t length, const struct homa_address *to, uint64_t *id,
                                 uint64_t cookie);

/* Receives a message into `buffer`: if `*id` is not 0, the response of that call only; else what `flags` ask for, first come first
 * served. Gives how many bytes were copied; `*message_length` (unless NULL) is the message's true length, and what `size` has no
 * room for is lost. Fills in `*id`, and where they are not NULL `*from` (zero for a failed call) and `*cookie` (0 for requests).
 * Waits up to `timeout_ms`, for ever if that is negative.
 * EAGAIN: nothing came in time. ETIMEDOUT, ENOTCONN (refused), EHOSTUNREACH, ECONNRESET (the server lost its state): the call `*id`
 * failed. EINVAL: no such call, or neither request nor response was asked for. */
GODWIT_HOMA_EXPORT ssize_t homa_recv(struct homa *homa, void *buffer, size_t size, int flags, int timeout_ms, struct homa_address *from,
                                     uint64_t *id, size_t *message_length, uint64_t *cookie);

/* Answers the request `id`, which homa_recv() gave. The bytes are copied. EINVAL: there is no such request (any more). EMSGSIZE. */
GODWIT_HOMA_EXPORT int homa_reply(struct homa *homa, const void *response, size_t length, uint64_t id);

/* Ends the call `id` without a word; the server is not told. EINVAL: there is none. */
GODWIT_HOMA_EXPORT int homa_abort(struct homa *homa, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
