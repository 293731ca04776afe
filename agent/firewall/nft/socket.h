// The netlink socket to nf_tables.

#ifndef POSTERN_AGENT_FIREWALL_NFT_SOCKET_H_
#define POSTERN_AGENT_FIREWALL_NFT_SOCKET_H_

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/nft/batch.h"

struct mnl_socket;

namespace postern::nft {

// The kernel's refusal of one message.
struct KernelError {
  // An errno.
  int number = 0;
  // The message's number.
  uint32_t sequence = 0;
  // Where in the message the attribute starts that it is about; 0 when unknown.
  size_t offset = 0;
};

// "context: No such file or directory (errno 2)".
std::string KernelMessage(int error_number, absl::string_view context);

// UNAVAILABLE, or PERMISSION_DENIED for EPERM, with that message.
absl::Status KernelStatus(int error_number, absl::string_view context);

// Belongs to the network namespace of the thread that opens it. Used by one
// thread at a time. What the kernel does not answer within 5 seconds fails with
// UNAVAILABLE; an answer that comes later is told by its number, and ignored.
class Socket {
 public:
  static absl::StatusOr<std::unique_ptr<Socket>> Open();

  // Its address, which the kernel's messages about its transactions carry.
  uint32_t port() const;

  // The first of `count` numbers that no other message has.
  uint32_t TakeSequences(uint32_t count);
  // The number that TakeSequences would give.
  uint32_t next_sequence() const { return next_sequence_; }

  // Sends a batch and waits for its answer. Empty when it was applied; the first
  // refusal when it was not.
  absl::StatusOr<std::optional<KernelError>> Transact(const Batch& batch);

  // Sends one request that reads, and passes each message of the answer to
  // `take`. Returns 0 or the errno of a refusal. A dump that was interrupted by
  // a change is asked for again, after `restart`.
  absl::StatusOr<int> Read(nlmsghdr* request, absl::FunctionRef<void()> restart,
                           absl::FunctionRef<void(const nlmsghdr&)> take);

 private:
  struct CloseSocket {
    void operator()(mnl_socket* socket) const;
  };
  // How one request ended.
  struct Outcome {
    int error = 0;
    bool interrupted = false;
  };

  explicit Socket(mnl_socket* socket);

  absl::Status Send(absl::string_view bytes);
  // Makes the send buffer large enough for a message of `size` bytes.
  absl::Status MakeRoom(size_t size);
  // One datagram from the kernel. ENOBUFS, which means that answers were lost,
  // sets `lost` and goes on.
  absl::StatusOr<absl::string_view> Receive(bool& lost);
  absl::StatusOr<Outcome> ReadOnce(nlmsghdr* request,
                                   absl::FunctionRef<void(const nlmsghdr&)> take);

  std::unique_ptr<mnl_socket, CloseSocket> socket_;
  int fd_ = -1;
  std::unique_ptr<char[]> buffer_;
  // The largest message that the send buffer takes.
  size_t room_ = 0;
  uint32_t next_sequence_ = 1;
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_SOCKET_H_
