// A netlink batch: the bytes of one nf_tables transaction, and which operation
// each of its messages came from.

#ifndef POSTERN_AGENT_FIREWALL_NFT_BATCH_H_
#define POSTERN_AGENT_FIREWALL_NFT_BATCH_H_

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"

namespace postern::nft {

// NFT_MSG_DESTROYSETELEM of Linux 6.3; younger than the headers we build with.
inline constexpr uint16_t kDestroySetElement = 30;

// Table flags: owned by the socket that made it (NFT_TABLE_F_OWNER), and kept when
// that is closed (NFT_TABLE_F_PERSIST of Linux 6.9; younger than the headers).
inline constexpr uint32_t kProtectedTable = 0x2 | 0x4;

// The message that starts at `bytes`, which are aligned to 4.
inline const nlmsghdr* MessageAt(const void* bytes) { return static_cast<const nlmsghdr*>(bytes); }

// Reused from one transaction to the next, so that its memory is.
class Batch {
 public:
  // Starts anew. The batch's own header takes `first_sequence`, its messages the
  // numbers that follow.
  void Begin(uint32_t first_sequence);

  // Starts a message of nf_tables `type` (NFT_MSG_*) for our family, with room
  // for `room` bytes of attributes, which the caller puts with libmnl or
  // libnftnl before the next call. `operation` is where it came from. The
  // pointer is valid until the next call.
  nlmsghdr* Add(uint16_t type, uint16_t flags, size_t operation, size_t room);

  // For a message of several elements, one operation each: the first belongs to
  // the message's operation, the next to the one after it. `first` is the offset
  // of the first element in the message, `size` the length of each.
  void SetElements(size_t first, size_t size);

  // Ends the batch. The last message asks for an acknowledgement: the kernel
  // reports errors unasked, and one answer cannot overflow the socket.
  void End();

  bool empty() const { return messages_.empty(); }
  size_t size() const { return messages_.size(); }
  // What to send. Valid until Begin.
  absl::string_view bytes() const { return {buffer_.get(), used_}; }

  // The header's number: errors about the batch as a whole carry it.
  uint32_t first_sequence() const { return first_sequence_; }
  // The last message's number: its answer is the last one.
  uint32_t last_sequence() const {
    return first_sequence_ + static_cast<uint32_t>(messages_.size());
  }

  // The operation that the message numbered `sequence` came from; in a message
  // of several elements, the one whose attribute starts at `offset`.
  size_t OperationOf(uint32_t sequence, size_t offset) const;
  // The message's type (NFT_MSG_*).
  uint16_t TypeOf(uint32_t sequence) const;

  // Gives back the memory of an unusually large batch.
  void Shrink();

 private:
  struct Message {
    size_t start;
    size_t operation;
    size_t first_element;
    size_t element_size;
  };

  void Grow(size_t room);
  // Takes the last message into account, whose length is known by now.
  void Close();
  const Message& MessageOf(uint32_t sequence) const;

  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t used_ = 0;
  uint32_t first_sequence_ = 0;
  std::vector<Message> messages_;
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_BATCH_H_
