#include "agent/firewall/nft/batch.h"

#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>

namespace postern::nft {
namespace {

constexpr size_t kFirstCapacity = size_t{16} << 10;
constexpr size_t kKeptCapacity = size_t{1} << 20;
// A message's own header and nf_tables'.
constexpr size_t kHeaders = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));

}  // namespace

void Batch::Begin(uint32_t first_sequence) {
  used_ = 0;
  messages_.clear();
  first_sequence_ = first_sequence;
  Grow(kHeaders);
  used_ = nftnl_batch_begin(buffer_.get(), first_sequence)->nlmsg_len;
}

nlmsghdr* Batch::Add(uint16_t type, uint16_t flags, size_t operation, size_t room) {
  Close();
  Grow(kHeaders + room);
  // libmnl leaves the padding after an attribute as it finds it.
  std::memset(buffer_.get() + used_, 0, kHeaders + room);
  messages_.push_back(
      {.start = used_, .operation = operation, .first_element = 0, .element_size = 0});
  return nftnl_nlmsg_build_hdr(buffer_.get() + used_, type, NFPROTO_INET, flags, last_sequence());
}

void Batch::SetElements(size_t first, size_t size) {
  messages_.back().first_element = first;
  messages_.back().element_size = size;
}

void Batch::End() {
  Close();
  if (!messages_.empty()) {
    void* last = buffer_.get() + messages_.back().start;
    static_cast<nlmsghdr*>(last)->nlmsg_flags |= NLM_F_ACK;
  }
  Grow(kHeaders);
  used_ += nftnl_batch_end(buffer_.get() + used_, last_sequence() + 1)->nlmsg_len;
}

size_t Batch::OperationOf(uint32_t sequence, size_t offset) const {
  const Message& message = MessageOf(sequence);
  if (message.element_size == 0 || offset < message.first_element) return message.operation;
  return message.operation + (offset - message.first_element) / message.element_size;
}

uint16_t Batch::TypeOf(uint32_t sequence) const {
  return NFNL_MSG_TYPE(MessageAt(buffer_.get() + MessageOf(sequence).start)->nlmsg_type);
}

void Batch::Shrink() {
  if (capacity_ <= kKeptCapacity) return;
  buffer_.reset();
  capacity_ = used_ = 0;
  messages_ = {};
}

void Batch::Grow(size_t room) {
  if (used_ + room <= capacity_) return;
  const size_t capacity = std::max({kFirstCapacity, 2 * capacity_, used_ + room});
  std::unique_ptr<char[]> larger(new char[capacity]);
  if (used_ > 0) std::memcpy(larger.get(), buffer_.get(), used_);
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

void Batch::Close() {
  if (messages_.empty()) return;
  const size_t start = messages_.back().start;
  used_ = start + NLMSG_ALIGN(MessageAt(buffer_.get() + start)->nlmsg_len);
}

const Batch::Message& Batch::MessageOf(uint32_t sequence) const {
  return messages_[sequence - first_sequence_ - 1];
}

}  // namespace postern::nft
