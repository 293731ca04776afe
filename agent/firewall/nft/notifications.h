// What the kernel announces about its rulesets, as values. Pure: every length is
// checked before it is believed, and what is malformed is left out.

#ifndef POSTERN_AGENT_FIREWALL_NFT_NOTIFICATIONS_H_
#define POSTERN_AGENT_FIREWALL_NFT_NOTIFICATIONS_H_

#include <linux/netlink.h>

#include <cstdint>

#include "absl/strings/string_view.h"
#include "agent/firewall/table_change.h"

namespace postern::nft {

// Collects the changes of our table that other sockets than our own made. Each
// transaction is announced object by object and ends with NEWGEN, which names
// the process.
class Notifications {
 public:
  // `own_port` is the netlink port of the socket that our transactions come from.
  explicit Notifications(uint32_t own_port) : own_port_(own_port) {}

  // All messages of one datagram, which is aligned to 4.
  void Take(absl::string_view datagram);
  // Some were lost.
  void TakeLoss();

  bool empty() const { return change_.what.empty() && !change_.lost; }
  // A change of our table has been announced, and not yet whose it is.
  bool awaits_name() const { return awaits_name_; }

  // Hands over what was collected, and begins anew.
  TableChange Finish();

 private:
  void TakeMessage(const nlmsghdr& message);

  const uint32_t own_port_;
  TableChange change_;
  bool awaits_name_ = false;
};

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_NOTIFICATIONS_H_
