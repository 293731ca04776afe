#include "agent/rpc/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

// A burst must not turn newcomers away: a client of a Unix socket fails at once when
// this is full.
constexpr int kBacklog = 1024;
constexpr mode_t kOwnerOnly = 0600;
constexpr mode_t kOwnerAndGroup = 0660;
constexpr mode_t kEverybody = 0666;

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

template <typename SocketAddress>
const sockaddr* AsSockaddr(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Makes room for a socket at `path`: removes one that nobody listens on.
absl::Status ClearPath(const std::string& path) {
  const std::string shown = Printable(path);
  struct stat found {};
  if (lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return absl::OkStatus();
    return ErrnoStatus(errno, absl::StrCat("looking at ", shown));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(
        shown, " is there and is not a socket; remove it, or name another path as socket"));
  }
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return ErrnoStatus(errno, "making a socket");
  const sockaddr_un address = UnixAddress(path);
  if (connect(probe.get(), AsSockaddr(address), sizeof address) == 0 || errno == EAGAIN) {
    return absl::FailedPreconditionError(
        absl::StrCat("another process answers on ", shown, "; stop it, or name another socket"));
  }
  if (errno != ECONNREFUSED) {
    return ErrnoStatus(errno, absl::StrCat("trying who answers on ", shown));
  }
  if (unlink(path.c_str()) != 0) return ErrnoStatus(errno, absl::StrCat("removing stale ", shown));
  return absl::OkStatus();
}

// Why the group could not be given the socket; empty when it was. `present` is
// the group that the socket was made with.
std::string GiveToGroup(const std::string& path, const std::string& group, gid_t present) {
  const std::string consequence =
      absl::StrCat("; only the daemon's own user can use ", Printable(path));
  std::array<char, 4096> buffer{};
  struct group entry {};
  struct group* found = nullptr;
  getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found);
  if (found == nullptr) return absl::StrCat("there is no group ", group, consequence);
  // Where the service's own group is this one, it is not allowed to change owners.
  const bool is_theirs = found->gr_gid == present;
  if ((!is_theirs && lchown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0) ||
      chmod(path.c_str(), kOwnerAndGroup) != 0) {
    return absl::StrCat("giving the socket to the group ", group, ": ", std::strerror(errno),
                        consequence);
  }
  return "";
}

Address FromIpv6(const in6_addr& six) {
  Address address;
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    std::copy_n(six.s6_addr + 12, 4, address.bytes.begin());
  } else {
    address.family = Family::kIpv6;
    std::copy_n(six.s6_addr, 16, address.bytes.begin());
  }
  return address;
}

std::optional<Endpoint> FromSocket(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(storage);
    Endpoint peer{.address = {}, .port = ntohs(four.sin_port)};
    std::memcpy(peer.address.bytes.data(), &four.sin_addr, 4);
    return peer;
  }
  if (storage.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(storage);
    return Endpoint{.address = FromIpv6(six.sin6_addr), .port = ntohs(six.sin6_port)};
  }
  return std::nullopt;
}

// The errno, or 0.
int BindTo(int fd, const Address& address, uint16_t port) {
  if (address.family == Family::kIpv4) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    std::memcpy(&to.sin_addr, address.bytes.data(), 4);
    return bind(fd, AsSockaddr(to), sizeof to) == 0 ? 0 : errno;
  }
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_port = htons(port);
  std::memcpy(&to.sin6_addr, address.bytes.data(), 16);
  return bind(fd, AsSockaddr(to), sizeof to) == 0 ? 0 : errno;
}

absl::Status SetOption(int fd, int level, int name, int value) {
  if (setsockopt(fd, level, name, &value, sizeof value) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, "setsockopt");
}

absl::Status PrepareTcp(int fd, const Address& address, uint16_t port) {
  POSTERN_RETURN_IF_ERROR(SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1));
  // Accepted connections inherit it; gRPC's messages are small and answered.
  POSTERN_RETURN_IF_ERROR(SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1));
  // At boot the host gets its addresses later than it gets this daemon.
  if (address.family == Family::kIpv6) {
    POSTERN_RETURN_IF_ERROR(SetOption(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1));
    // Whatever net.ipv6.bindv6only says.
    POSTERN_RETURN_IF_ERROR(SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
  } else {
    POSTERN_RETURN_IF_ERROR(SetOption(fd, IPPROTO_IP, IP_FREEBIND, 1));
  }
  if (const int error = BindTo(fd, address, port); error != 0) return ErrnoStatus(error, "bind");
  if (listen(fd, kBacklog) != 0) return ErrnoStatus(errno, "listen");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LocalListener> LocalListener::Listen(const std::string& path,
                                                    const std::string& group) {
  POSTERN_ASSIGN_OR_RETURN(LocalListener listener, Open(path));
  listener.warning_ = GiveToGroup(path, group, listener.group_);
  POSTERN_RETURN_IF_ERROR(listener.Listen());
  return listener;
}

absl::StatusOr<LocalListener> LocalListener::ListenForAll(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(LocalListener listener, Open(path));
  if (chmod(path.c_str(), kEverybody) != 0) {
    return ErrnoStatus(errno, absl::StrCat("socket ", Printable(path), ": chmod"));
  }
  POSTERN_RETURN_IF_ERROR(listener.Listen());
  return listener;
}

absl::StatusOr<LocalListener> LocalListener::Open(const std::string& path) {
  constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty() || path.size() > kMaxPath) {
    return absl::InvalidArgumentError(
        absl::StrCat("socket: \"", Printable(path.substr(0, kMaxPath)), "\" has ", path.size(),
                     " bytes; the kernel takes 1 to ", kMaxPath, ", so name a shorter path"));
  }
  POSTERN_RETURN_IF_ERROR(ClearPath(path));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return ErrnoStatus(errno, "making a socket");
  LocalListener listener(std::move(fd), path);
  POSTERN_RETURN_IF_ERROR(Annotate(listener.Bind(), absl::StrCat("socket ", Printable(path))));
  return listener;
}

absl::Status LocalListener::Bind() {
  // On Linux the socket's own mode is what bind(2) gives to its file, so that the
  // file is never more open than this.
  if (fchmod(fd(), kOwnerOnly) != 0) return ErrnoStatus(errno, "fchmod");
  const sockaddr_un address = UnixAddress(path_);
  if (bind(fd(), AsSockaddr(address), sizeof address) != 0) return ErrnoStatus(errno, "bind");
  struct stat made {};
  if (lstat(path_.c_str(), &made) != 0) return ErrnoStatus(errno, "lstat");
  device_ = made.st_dev;
  inode_ = made.st_ino;
  group_ = made.st_gid;
  return absl::OkStatus();
}

absl::Status LocalListener::Listen() {
  if (listen(fd(), kBacklog) == 0) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("socket ", Printable(path_), ": listen"));
}

LocalListener::~LocalListener() {
  struct stat found {};
  if (fd() < 0 || inode_ == 0 || lstat(path_.c_str(), &found) != 0) return;
  if (found.st_dev == device_ && found.st_ino == inode_) unlink(path_.c_str());
}

absl::StatusOr<Fd> ListenTcp(const Address& address, uint16_t port) {
  const std::string context = absl::StrCat("listen.address ", address.ToString(), " port ", port);
  Fd fd(socket(address.family == Family::kIpv4 ? AF_INET : AF_INET6,
               SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return ErrnoStatus(errno, context);
  POSTERN_RETURN_IF_ERROR(Annotate(PrepareTcp(fd.get(), address, port), context));
  return fd;
}

bool IsMissing(const Address& address) {
  const Fd fd(
      socket(address.family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return fd.get() >= 0 && BindTo(fd.get(), address, 0) == EADDRNOTAVAIL;
}

absl::StatusOr<Accepted> AcceptOne(int listener) {
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  Fd fd(
      accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd.get() >= 0) return Accepted{.fd = std::move(fd), .peer = FromSocket(from)};
  switch (errno) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return absl::ResourceExhaustedError(
          absl::StrCat("accepting a connection: ", std::strerror(errno)));
    default:
      // EAGAIN, and errors of a connection that is gone already (accept(2)).
      return absl::UnavailableError("no connection waits");
  }
}

SpareDescriptor::SpareDescriptor() : fd_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

bool SpareDescriptor::TurnAwayOne(int listener) {
  fd_.Reset();
  const bool waited = AcceptOne(listener).ok();
  fd_.Reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return waited;
}

}  // namespace postern
