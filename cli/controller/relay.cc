#include "cli/controller/relay.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

absl::Status Await(int fd, short events, absl::Duration patience) {
  pollfd waiting{.fd = fd, .events = events, .revents = 0};
  const int ready = poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(patience)));
  if (ready < 0) return ErrnoStatus(errno, "waiting");
  return ready > 0 ? absl::OkStatus() : absl::UnavailableError("no answer in time");
}

absl::Status Connect(int fd, const addrinfo& address, absl::Duration patience) {
  if (connect(fd, address.ai_addr, address.ai_addrlen) == 0) return absl::OkStatus();
  if (errno != EINPROGRESS)
    return absl::UnavailableError(ErrnoStatus(errno, "connecting").message());
  POSTERN_RETURN_IF_ERROR(Await(fd, POLLOUT, patience));
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(ErrnoStatus(error, "connecting").message());
}

absl::Status WriteAll(int fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      POSTERN_RETURN_IF_ERROR(Await(fd, POLLOUT, absl::Hours(24)));
    } else if (errno != EINTR) {
      return ErrnoStatus(errno, "writing");
    }
  }
  return absl::OkStatus();
}

// False at the end of `from`.
absl::StatusOr<bool> Carry(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t got = read(from, buffer.data(), buffer.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got < 0) return ErrnoStatus(errno, "reading");
  if (got == 0) return false;
  POSTERN_RETURN_IF_ERROR(WriteAll(to, {buffer.data(), static_cast<size_t>(got)}));
  return true;
}

}  // namespace

absl::StatusOr<int> ConnectTo(const std::string& host, uint16_t port, absl::Duration patience) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &wanted, &found);
  if (failed != 0) {
    return absl::UnavailableError(
        absl::StrCat("finding ", Printable(host), ": ", gai_strerror(failed)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  absl::Status status;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const int fd = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
      status = ErrnoStatus(errno, "making a socket");
      continue;
    }
    status = Connect(fd, *one, patience);
    if (status.ok()) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return fd;
    }
    close(fd);
  }
  return Annotate(status, absl::StrCat(Printable(host), ":", port));
}

absl::Status Relay(int socket, int in, int out) {
  std::array<pollfd, 2> waiting = {pollfd{.fd = in, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = socket, .events = POLLIN, .revents = 0}};
  while (true) {
    if (poll(waiting.data(), waiting.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "waiting");
    }
    if (waiting[0].revents != 0) {
      POSTERN_ASSIGN_OR_RETURN(const bool more, Carry(in, socket));
      if (!more) {
        waiting[0].fd = -1;
        waiting[0].revents = 0;
        shutdown(socket, SHUT_WR);
      }
    }
    if (waiting[1].revents != 0) {
      POSTERN_ASSIGN_OR_RETURN(const bool more, Carry(socket, out));
      if (!more) return absl::OkStatus();
    }
  }
}

}  // namespace postern
