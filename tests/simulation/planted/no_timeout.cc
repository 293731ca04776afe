// Planted: elements without a timeout.

#include <variant>

#include "tests/simulation/seams.h"

namespace postern::simulation {
namespace {

class Timeless final : public Firewall {
 public:
  explicit Timeless(Firewall& firewall) : firewall_(firewall) {}

  absl::Status Commit(const Transaction& transaction) override {
    Transaction timeless = transaction;
    for (Operation& operation : timeless) {
      if (auto* put = std::get_if<PutElement>(&operation)) {
        put->end = BootTime(absl::InfiniteDuration());
      }
    }
    return firewall_.Commit(timeless);
  }
  absl::StatusOr<bool> HasTable() override { return firewall_.HasTable(); }
  absl::StatusOr<std::vector<SetId>> ReadSets() override { return firewall_.ReadSets(); }
  absl::StatusOr<std::vector<InstalledElement>> ReadElements(const SetId& set) override {
    return firewall_.ReadElements(set);
  }
  absl::StatusOr<std::optional<InstalledElement>> ReadElement(const SetId& set,
                                                              const AccessKey& key) override {
    return firewall_.ReadElement(set, key);
  }
  absl::StatusOr<std::vector<Flow>> ReadOlderFlows() override { return firewall_.ReadOlderFlows(); }
  absl::StatusOr<std::vector<InstalledElement>> ReadDenied(bool enforce) override {
    return firewall_.ReadDenied(enforce);
  }
  absl::StatusOr<Counter> ReadCounter(absl::string_view name) override {
    return firewall_.ReadCounter(name);
  }

 private:
  Firewall& firewall_;
};

}  // namespace

std::unique_ptr<Firewall> FirewallSeam(Firewall& firewall) {
  return std::make_unique<Timeless>(firewall);
}
std::unique_ptr<Store> StoreSeam(Store& /*store*/) { return nullptr; }

}  // namespace postern::simulation
