// Where an index, an archive or a store lies: a path here, a URL, or a path at a host that ssh reaches; and the words that start
// the peer that serves it. Source: casync.md 1 ("Locator classes"), 2.1.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/remote_flags.h"

namespace godwit::chunks {

struct RemoteLocator {
  enum class Kind : std::uint8_t { path, url, ssh };
  Kind kind = Kind::path;
  std::string host;  // ssh: "[user@]host"
  std::string path;  // path and ssh: the path; url: the whole URL
  // "http", "https", …; "" when it is no URL.
  std::string scheme() const;

  friend bool operator==(const RemoteLocator&, const RemoteLocator&) = default;
};

// "/a", "./a", "a" are paths; "scheme://…" is a URL ("file://…" a path, percent-decoded); "[user@]host:path" is ssh.
// ErrorKind::usage for an empty text and for a file URL of another host.
Result<RemoteLocator> parse_remote_locator(std::string_view text);

// The store that belongs to an index where nobody has said another: `default.castr` beside it.
RemoteLocator default_store_of(const RemoteLocator& index);

// What a user's environment says (CASYNC_SSH_PATH, CASYNC_REMOTE_PATH, CASYNC_PROTOCOL_PATH); the values here are the defaults.
struct RemotePrograms {
  std::string ssh = "ssh";
  std::string casync = "casync";
  std::string protocols = "/usr/lib/casync/protocols";
};

// What one peer is asked to serve. Those that are given lie at one host, or are all URLs of one scheme.
struct RemoteOperands {
  const RemoteLocator* archive = nullptr;
  const RemoteLocator* index = nullptr;
  const RemoteLocator* store = nullptr;
  std::vector<std::string> options;  // "--log-level=…" in front of the verb; a desync server knows none
};

// The words to execute, without any shell. An index pushed alone is sent with a store beside it, which is never written: without
// one a real casync never confirms it (casync.md 2.6). ErrorKind::usage where no peer is named, or several are.
Result<std::vector<std::string>> remote_command(HelloFlags wants, const RemoteOperands& operands, const RemotePrograms& programs);

}  // namespace godwit::chunks
