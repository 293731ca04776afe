// The firewall of the kernel: nf_tables over netlink.

#ifndef POSTERN_AGENT_FIREWALL_NFT_NFT_FIREWALL_H_
#define POSTERN_AGENT_FIREWALL_NFT_NFT_FIREWALL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/firewall.h"
#include "agent/firewall/nft/batch.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/socket.h"
#include "agent/firewall/nft/timeout.h"

namespace postern {

// The table `inet postern` of one network namespace. Where the kernel can, the
// table is made so that only this object can change it until it is destroyed,
// and stays when it is; any other may then replace it. It does not tell an
// element's last use: what the kernel has for it makes Debian 12's nft(8) crash
// on every listing of the ruleset.
class NftFirewall final : public Firewall {
 public:
  // For the network namespace of the calling thread, which may then be another
  // than the one that uses the firewall. Finds out what the kernel can do.
  static absl::StatusOr<std::unique_ptr<NftFirewall>> Open();
  // The same for a kernel whose capabilities are known: `capabilities` may be
  // less than they are, never more.
  static absl::StatusOr<std::unique_ptr<NftFirewall>> Open(const nft::Capabilities& capabilities);

  const nft::Capabilities& capabilities() const { return capabilities_; }
  // The netlink port that its transactions come from, for nft::Watcher.
  uint32_t port() const { return socket_->port(); }

  // Takes the whole table away, if there is one; UNAVAILABLE while another process
  // owns it. No operation of a transaction does this.
  absl::Status RemoveTable();

  absl::Status Commit(const Transaction& transaction) override;
  absl::StatusOr<bool> HasTable() override;
  absl::StatusOr<bool> OwnsTable() override;
  absl::StatusOr<std::vector<SetId>> ReadSets() override;
  // Each key once. Elements whose keys no grant could have are left out where
  // no packet can match them.
  absl::StatusOr<std::vector<InstalledElement>> ReadElements(const SetId& set) override;
  absl::StatusOr<std::optional<InstalledElement>> ReadElement(const SetId& set,
                                                              const AccessKey& key) override;
  absl::StatusOr<std::vector<Flow>> ReadOlderFlows() override;
  absl::StatusOr<std::vector<InstalledElement>> ReadDenied(bool enforce) override;
  absl::StatusOr<Counter> ReadCounter(absl::string_view name) override;

 private:
  NftFirewall(std::unique_ptr<nft::Socket> socket, const nft::Capabilities& capabilities)
      : socket_(std::move(socket)), capabilities_(capabilities) {}

  // Encodes and sends, counting timeouts from `clock`.
  absl::Status CommitOnce(const Transaction& transaction, const nft::TimeoutClock& clock,
                          bool& element_expired);
  absl::Status CommitCountedFrom(const Transaction& transaction, const nft::TimeoutClock& clock);
  // Sends the ends that `transaction` put once more, a few at a time.
  void SendEndsAgain(const Transaction& transaction);
  absl::Status Explain(const Transaction& transaction, const nft::KernelError& error) const;
  // The elements of the set of this name, whose keys are those of `keys`.
  absl::StatusOr<std::vector<InstalledElement>> ReadNamedSet(const std::string& name,
                                                             const SetId& keys);
  // Appends the flows of one set; a set that does not exist has none.
  absl::Status ReadFlows(const char* set, std::vector<Flow>& flows);

  std::unique_ptr<nft::Socket> socket_;
  nft::Capabilities capabilities_;
  nft::Batch batch_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_FIREWALL_NFT_NFT_FIREWALL_H_
