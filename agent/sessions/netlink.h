// Requests to the kernel over one netlink socket, by libmnl.

#ifndef POSTERN_AGENT_SESSIONS_NETLINK_H_
#define POSTERN_AGENT_SESSIONS_NETLINK_H_

#include <linux/netlink.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct mnl_socket;

namespace postern {

// The bytes that a request may take, header included.
inline constexpr size_t kMaxNetlinkRequest = 512;
inline constexpr size_t kMaxNetlinkDumpRequest = 8192;

// Writes the type, the extra header and the attributes of one request into a
// message that has room for kMaxNetlinkRequest (a dump: kMaxNetlinkDumpRequest)
// bytes. Flags and sequence number are set by NetlinkSocket.
using BuildRequest = absl::FunctionRef<void(nlmsghdr*)>;

// Blocking; one request at a time. Errors name the socket's subject:
//   PERMISSION_DENIED   CAP_NET_ADMIN is missing
//   UNAVAILABLE         the kernel did not answer, or what was read went on
//                       changing
//   others              as absl::ErrnoToStatusCode says
class NetlinkSocket {
 public:
  // Opens a socket of `bus` (NETLINK_SOCK_DIAG and so on) in the calling
  // thread's network namespace, where it stays. `subject` is what it talks
  // about, for messages: "conntrack".
  static absl::StatusOr<NetlinkSocket> Open(int bus, std::string subject);

  // Asks the kernel to believe the filters in the headers of dump requests
  // (NETLINK_GET_STRICT_CHK). Kernels that do not know this send everything.
  void FilterDumpsStrictly();

  // Sends a dump request and shows each message of the answer to `visit`.
  // `start` is called before each attempt: a dump that the kernel reports as
  // inconsistent is repeated, a bounded number of times. When `visit` fails, the
  // rest of the answer is skipped and its error returned.
  absl::Status Dump(BuildRequest build, absl::FunctionRef<void()> start,
                    absl::FunctionRef<absl::Status(const nlmsghdr&)> visit);

  // Sends `count` requests, many to a system call, and returns the errno that
  // the kernel answered each with, 0 for done, in the same order.
  absl::StatusOr<std::vector<int>> Execute(size_t count,
                                           absl::FunctionRef<void(size_t, nlmsghdr*)> build);

  // The status for an errno that the kernel answered a request with.
  absl::Status Refused(int error_number, absl::string_view what) const;

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const;
  };

  NetlinkSocket(mnl_socket* socket, std::string subject);

  absl::Status Send(const void* data, size_t size);
  // Receives one datagram from the kernel into buffer_.
  absl::StatusOr<size_t> Receive();
  // One attempt at a dump; false when the kernel called it inconsistent.
  absl::StatusOr<bool> TryDump(BuildRequest build,
                               absl::FunctionRef<absl::Status(const nlmsghdr&)> visit);

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::string subject_;
  uint32_t sequence_ = 0;
  std::vector<char> buffer_;
};

// Whether a whole message stands in the `left` bytes at `message`.
bool IsWholeMessage(const nlmsghdr* message, int left);

// The attributes of a message or of a nest, by their type; null where there is
// none. They point into the message.
template <size_t kCount>
using Attributes = std::array<const nlattr*, kCount>;

namespace netlink_internal {
void ParseMessage(const nlmsghdr& message, size_t header_size, const nlattr** into, size_t count);
void ParseNest(const nlattr* nest, const nlattr** into, size_t count);
}  // namespace netlink_internal

// Of a message, after its extra header of `header_size` bytes. Attributes of a
// type of `kCount` or more are left out.
template <size_t kCount>
Attributes<kCount> ParseAttributes(const nlmsghdr& message, size_t header_size) {
  Attributes<kCount> attributes = {};
  netlink_internal::ParseMessage(message, header_size, attributes.data(), kCount);
  return attributes;
}

// Of a nest, which may be null: then there are none.
template <size_t kCount>
Attributes<kCount> ParseNested(const nlattr* nest) {
  Attributes<kCount> attributes = {};
  netlink_internal::ParseNest(nest, attributes.data(), kCount);
  return attributes;
}

// Copies the payload of `attribute`, which may be null. False when it has not
// exactly `size` bytes.
bool CopyPayload(const nlattr* attribute, void* to, size_t size);

}  // namespace postern

#endif  // POSTERN_AGENT_SESSIONS_NETLINK_H_
