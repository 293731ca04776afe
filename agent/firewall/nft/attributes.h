// Netlink messages and their attributes, one after another. libmnl's own loops are
// macros that C++ refuses.

#ifndef POSTERN_AGENT_FIREWALL_NFT_ATTRIBUTES_H_
#define POSTERN_AGENT_FIREWALL_NFT_ATTRIBUTES_H_

#include <libmnl/libmnl.h>

#include <cstddef>
#include <cstdint>

namespace postern::nft {

// Whether a whole message stands in the `left` bytes at `message`. mnl_nlmsg_ok
// takes lengths of 2 GiB and more for negative ones, which fit anywhere.
inline bool IsWhole(const nlmsghdr* message, int left) {
  return mnl_nlmsg_ok(message, left) && message->nlmsg_len <= static_cast<uint32_t>(left);
}

// Calls `take` with each attribute within the `size` bytes at `first`, up to one
// whose length is not within them.
template <typename Take>
void ForEachAttribute(const void* first, size_t size, Take take) {
  const auto* attribute = static_cast<const nlattr*>(first);
  const char* end = static_cast<const char*>(first) + size;
  const auto left = [&] {
    return static_cast<int>(end - static_cast<const char*>(static_cast<const void*>(attribute)));
  };
  for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute)) take(*attribute);
}

// The attributes inside another one.
template <typename Take>
void ForEachNested(const nlattr& nest, Take take) {
  ForEachAttribute(mnl_attr_get_payload(&nest), mnl_attr_get_payload_len(&nest), take);
}

// The attributes of a message, after its own header of `header` bytes.
template <typename Take>
void ForEachAttributeOf(const nlmsghdr& message, size_t header, Take take) {
  const size_t size = mnl_nlmsg_get_payload_len(&message);
  const size_t skipped = MNL_ALIGN(header);
  if (size < skipped) return;
  ForEachAttribute(mnl_nlmsg_get_payload_offset(&message, header), size - skipped, take);
}

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_ATTRIBUTES_H_
