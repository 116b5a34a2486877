#include "chunks/core/remote_gate.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace godwit::chunks {

namespace {

std::unexpected<Error> out_of_place(const wire::Message& message, std::string_view why) {
  return fail(ErrorKind::invalid, fmt::format("the remote sent {}, {}", wire::name_of(wire::type_of(message)), why));
}

struct Pair {
  ErrorKind kind;
  int number;
};
// In both directions; of several numbers of one kind the first is ours, of several kinds of one number the first is what is
// heard.
constexpr Pair kNumbers[] = {
    {ErrorKind::corrupt, EBADMSG},  // a chunk that is damaged there, most of all
    {ErrorKind::invalid, EBADMSG},
    {ErrorKind::not_found, ENOENT},
    {ErrorKind::not_found, ENOMEDIUM},
    {ErrorKind::refused, EBADE},
    {ErrorKind::refused, EACCES},
    {ErrorKind::refused, EPERM},
    {ErrorKind::truncated, EBADMSG},
    {ErrorKind::unsupported, EPROTONOSUPPORT},
    {ErrorKind::unsupported, ENOTSUP},
    {ErrorKind::limit, EFBIG},
    {ErrorKind::exists, EEXIST},
    {ErrorKind::busy, EBUSY},
    {ErrorKind::no_space, ENOSPC},
    {ErrorKind::read_only, EROFS},
    {ErrorKind::timed_out, ETIMEDOUT},
    {ErrorKind::cancelled, ECANCELED},
    {ErrorKind::connection_lost, ECONNABORTED},
    {ErrorKind::io, EIO},
};

ErrorKind kind_of(int number) {
  for (const Pair& pair : kNumbers)
    if (pair.number == number) return pair.kind;
  return ErrorKind::io;
}

int number_of(ErrorKind kind) {
  for (const Pair& pair : kNumbers)
    if (pair.kind == kind) return pair.number;
  return EIO;
}

}  // namespace

Error error_of_abort(const wire::Abort& abort) {
  const int number = abort.error_number == 0 ? ECONNABORTED : static_cast<int>(abort.error_number);
  std::string message = fmt::format("the remote gave up: {}", Error::from_errno(number, "").message());
  if (const std::size_t colon = message.find(": : "); colon != std::string::npos) message.erase(colon, 2);
  if (!abort.text.empty()) message += fmt::format(" (its words: {})", escaped(abort.text));
  return Error(kind_of(number), std::move(message));
}

wire::Abort abort_of_error(const Error& error) {
  return {static_cast<std::uint64_t>(number_of(error.kind())), error.message()};
}

Result<void> RemoteGate::admit(const wire::Message& message) {
  const auto refused = [&](std::unexpected<Error> error) -> Result<void> {
    state_ = State::failed;
    return error;
  };
  if (state_ == State::over) return refused(out_of_place(message, "though it had said GOODBYE"));
  if (state_ == State::failed) return refused(out_of_place(message, "though the session had failed"));
  if (const auto* abort = std::get_if<wire::Abort>(&message)) return refused(fail(error_of_abort(*abort)));
  if (const auto* said = std::get_if<wire::Hello>(&message)) {
    if (state_ != State::hello) return refused(out_of_place(message, "a second time"));
    if (Result<void> fits = check_hello(mine_, said->flags); !fits) return refused(fail(std::move(fits).error()));
    peers_ = said->flags;
    state_ = State::running;
    return {};
  }
  if (state_ == State::hello) return refused(out_of_place(message, "where HELLO comes first"));

  using namespace hello;
  if (const auto* piece = std::get_if<wire::Piece>(&message)) return admit_file(piece->file, false);
  if (const auto* eof = std::get_if<wire::PieceEof>(&message)) return admit_file(eof->file, true);
  if (std::holds_alternative<wire::Request>(message) && !agreed(kPushChunks, kPullChunks))
    return refused(out_of_place(message, "and nobody had agreed to ask for chunks"));
  if ((std::holds_alternative<wire::Chunk>(message) || std::holds_alternative<wire::Missing>(message)) &&
      !agreed(kPullChunks, kPushChunks))
    return refused(out_of_place(message, "and nobody had agreed to send chunks"));
  if (std::holds_alternative<wire::Goodbye>(message)) state_ = State::over;
  return {};
}

Result<void> RemoteGate::admit_file(wire::File file, bool is_end) {
  using namespace hello;
  const bool may_come = file == wire::File::index ? agreed(kPullIndex, kPushIndex) : agreed(kPullArchive, kPushArchive);
  FileState& state = files_[static_cast<unsigned>(file)];
  const char* const why = !may_come ? "and nobody had agreed to that" : state == FileState::ended ? "after its end" : nullptr;
  if (why != nullptr) {
    state_ = State::failed;
    return fail(ErrorKind::invalid,
                fmt::format("the remote sent {} {}, {}", is_end ? "the end of the" : "a piece of the", wire::name_of(file), why));
  }
  if (is_end && state == FileState::absent) {
    state_ = State::failed;
    return fail(ErrorKind::truncated, fmt::format("the remote's {} is empty", wire::name_of(file)));
  }
  state = is_end ? FileState::ended : FileState::begun;
  return {};
}

}  // namespace godwit::chunks
