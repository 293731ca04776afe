// Does what a controller wants: compares it with the ledger and hands the difference
// to the gatekeeper. Knows no gRPC.

#ifndef POSTERN_AGENT_LINK_APPLIER_H_
#define POSTERN_AGENT_LINK_APPLIER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "agent/enforcer/mailbox.h"
#include "agent/link/plan.h"
#include "common/clock.h"
#include "common/status.h"
#include "postern/v1/controller.pb.h"

namespace postern {

// What `ask` gives on the gatekeeper's thread, which this waits for.
template <typename T>
absl::StatusOr<T> Asked(Mailbox& mailbox, std::function<T(Gatekeeper&)> ask) {
  auto promise = std::make_shared<std::promise<T>>();
  std::future<T> future = promise->get_future();
  POSTERN_RETURN_IF_ERROR(mailbox.Ask([promise, ask = std::move(ask)](Gatekeeper& gatekeeper) {
    promise->set_value(ask(gatekeeper));
  }));
  return future.get();
}

// What became of the grants that are wanted, and of those that are no more.
struct Applied {
  // By the grants' ids.
  std::map<std::string, v1::GrantReport> reports = {};
  // Those for which something failed that may pass, and has to be tried again.
  std::set<std::string> pending = {};
  // What failed, or was refused to a grant that lives; empty where nothing was.
  std::string trouble = {};
};

// Where destination NAT on this host leads those of the ports that it translates. Called
// by the Applier's thread; may take a second.
using ReadMappedPorts =
    std::function<std::map<uint16_t, uint16_t>(const std::vector<uint16_t>& ports)>;

// One thread at a time, and never the gatekeeper's.
class Applier {
 public:
  // `actor` makes the grants; those of others are not touched, but for the ones that
  // another controller has made: this one is in its place. `mailbox` and `clock` are
  // borrowed.
  Applier(std::string actor, Mailbox& mailbox, const Clock& clock, ReadMappedPorts read_mapped)
      : actor_(std::move(actor)),
        mailbox_(mailbox),
        clock_(clock),
        read_mapped_(std::move(read_mapped)) {}

  // `came` is when the message with `wanted` did, from which its durations count.
  // Fails where the gatekeeper cannot be reached.
  absl::StatusOr<Applied> Apply(WantedGrants wanted, BootTime came);

  // How much those of `wanted` that live have been used, which says nothing about
  // whether they are as wanted.
  absl::StatusOr<std::vector<v1::GrantReport>> Usage(const WantedGrants& wanted);

  // What the controller is told of a controller's grant. NOT_FOUND for another's.
  absl::StatusOr<v1::GrantReport> Report(const std::string& id);

 private:
  using Answer = absl::StatusOr<Grant>;

  absl::StatusOr<HeldGrants> Held(const WantedGrants& wanted);
  // Steps [begin, end) of `steps`, which become one batch of the gatekeeper's.
  absl::Status Perform(const std::vector<Step>& steps, size_t begin, size_t end, Applied& applied);
  absl::Status Settle(const Step& step, const Answer& answer, Applied& applied);
  // `step` changes a live grant and is refused for good.
  absl::Status SettleRefused(const Step& step, const absl::Status& why, Applied& applied);
  absl::StatusOr<std::future<Answer>> Submit(Step step);
  absl::StatusOr<Answer> Get(const std::string& id);
  static v1::GrantReport Told(const Grant& grant);
  // After all is done, which it must not keep waiting.
  void AddMappedPorts(const std::vector<GrantRequest>& wanted, Applied& applied);

  const std::string actor_;
  Mailbox& mailbox_;
  const Clock& clock_;
  const ReadMappedPorts read_mapped_;
  // What was read, of which ports and when: many grants may come one by one.
  std::map<uint16_t, uint16_t> mapped_;
  std::set<uint16_t> mapped_of_;
  BootTime mapped_at_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_APPLIER_H_
