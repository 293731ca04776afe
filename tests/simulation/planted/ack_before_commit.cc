// Planted: a commit is acknowledged before it is durable. It becomes so with
// the next one, and until then whoever asks is shown what was asked for.

#include <utility>

#include "tests/simulation/seams.h"

namespace postern::simulation {
namespace {

class Lazy final : public Store {
 public:
  explicit Lazy(Store& store) : store_(store) {}

  absl::StatusOr<StoredState> Load() override { return store_.Load(); }
  absl::Status Commit(const std::vector<Write>& writes) override {
    waiting_.insert(waiting_.end(), writes.begin(), writes.end());
    if (std::exchange(skip_, !skip_)) return absl::OkStatus();
    return store_.Commit(std::exchange(waiting_, {}));
  }
  absl::StatusOr<std::optional<Grant>> FindGrant(absl::string_view id) override {
    for (auto write = waiting_.rbegin(); write != waiting_.rend(); ++write) {
      if (write->put && write->put->id == id) return write->put;
      if (write->erase == id) return std::nullopt;
    }
    return store_.FindGrant(id);
  }
  absl::StatusOr<std::vector<Grant>> ListGrants(int64_t after, size_t limit,
                                                bool include_ended) override {
    return store_.ListGrants(after, limit, include_ended);
  }
  absl::StatusOr<std::vector<AuditEvent>> ListAudit(uint64_t after, absl::Time since,
                                                    size_t limit) override {
    return store_.ListAudit(after, since, limit);
  }

 private:
  Store& store_;
  std::vector<Write> waiting_;
  bool skip_ = false;
};

}  // namespace

std::unique_ptr<Firewall> FirewallSeam(Firewall& /*firewall*/) { return nullptr; }
std::unique_ptr<Store> StoreSeam(Store& store) { return std::make_unique<Lazy>(store); }

}  // namespace postern::simulation
