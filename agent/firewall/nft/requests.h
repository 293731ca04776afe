// The requests that read. Pure.

#ifndef POSTERN_AGENT_FIREWALL_NFT_REQUESTS_H_
#define POSTERN_AGENT_FIREWALL_NFT_REQUESTS_H_

#include <linux/netlink.h>

#include <array>
#include <string>

#include "agent/firewall/ruleset.h"

namespace postern::nft {

// One request; its number is filled in when it is sent.
class Request {
 public:
  static Request GetTable();
  // All sets of the table.
  static Request ListSets();
  // All elements of a set.
  static Request ListElements(const std::string& set);
  static Request GetElement(const std::string& set, const Bytes& key,
                            const char* table = kTableName);
  static Request GetCounter(const std::string& name);

  nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(bytes_.data())); }

 private:
  Request(uint16_t type, uint16_t flags);
  // Attributes that would not fit are left out; the kernel then refuses.
  void PutText(uint16_t type, const std::string& text);

  alignas(nlmsghdr) std::array<char, 1024> bytes_ = {};
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_REQUESTS_H_
