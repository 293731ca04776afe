// A gatekeeper over fakes, and a small language to drive it.

#ifndef POSTERN_TESTS_UNIT_ENFORCER_GATE_H_
#define POSTERN_TESTS_UNIT_ENFORCER_GATE_H_

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "agent/enforcer/gatekeeper.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/grants.h"

namespace postern {

// One to port 22.
inline Flow SessionFrom(absl::string_view remote) {
  return {.remote = A(remote), .remote_port = 50000, .local = A("192.0.2.1"), .local_port = 22};
}

class GateTest : public ::testing::Test {
 protected:
  GateTest() { options_.gate.ports = options_.limits.guarded_ports; }

  void SetUp() override { Restart(); }

  // A new daemon over the same store and kernel.
  void Restart(absl::string_view ledger_replaced = "", bool enforced_before = false) {
    gatekeeper_ = std::make_unique<Gatekeeper>(
        options_,
        Gatekeeper::Collaborators{
            .clock = clock_,
            .store = store_,
            .firewall = firewall_,
            .sessions = sessions_,
            .announce = [this](const AuditEvent& event) { announced_.push_back(event); },
            .report = [this](const absl::Status& status) { reported_.push_back(status); }});
    start_ = gatekeeper_->Start(ledger_replaced, enforced_before);
  }

  using Change = std::variant<CreateGrant, ExtendGrant, MoveGrant, RevokeGrant>;

  std::vector<absl::StatusOr<Grant>> DoAll(std::vector<Change> changes) {
    std::vector<std::optional<absl::StatusOr<Grant>>> answers(changes.size());
    std::vector<Command> commands;
    for (size_t i = 0; i < changes.size(); ++i) {
      commands.push_back({.request = std::move(changes[i]),
                          .actor = "tester",
                          .done = [&answers, i](absl::StatusOr<Grant> answer) {
                            EXPECT_FALSE(answers[i].has_value()) << "answered twice";
                            answers[i] = std::move(answer);
                          }});
    }
    gatekeeper_->Execute(std::move(commands));
    std::vector<absl::StatusOr<Grant>> all;
    for (auto& answer : answers) {
      all.push_back(answer.value_or(absl::InternalError("was not answered")));
    }
    return all;
  }
  absl::StatusOr<Grant> Do(Change change) { return DoAll({std::move(change)})[0]; }

  absl::StatusOr<Grant> Create(int id) { return Do(CreateGrant{Request(id)}); }
  absl::StatusOr<Grant> Create(int id, absl::string_view source, absl::Duration duration,
                               OnExpiry on_expiry = OnExpiry::kKeep) {
    GrantRequest request = Request(id);
    request.sources = {P(source)};
    request.duration = duration;
    request.on_expiry = on_expiry;
    return Do(CreateGrant{request});
  }
  absl::StatusOr<Grant> Extend(int id, absl::Duration by) { return Do(ExtendGrant{Id(id), by}); }
  absl::StatusOr<Grant> Move(int id, absl::string_view to) {
    return Do(MoveGrant{Id(id), {P(to)}});
  }
  absl::StatusOr<Grant> Revoke(int id, bool keep_sessions = false) {
    return Do(RevokeGrant{Id(id), keep_sessions, "no longer needed"});
  }

  // Time passes and the daemon's alarm rings.
  void Pass(absl::Duration time) {
    clock_.Advance(time);
    gatekeeper_->OnAlarm();
  }

  bool Admits(absl::string_view source, uint16_t port = 22) {
    return firewall_.Admits(A(source), Protocol::kTcp, port);
  }
  std::vector<AuditKind> Kinds() const {
    std::vector<AuditKind> kinds;
    for (const AuditEvent& event : store_.audit()) kinds.push_back(event.kind);
    return kinds;
  }

  GatekeeperOptions options_;
  FakeClock clock_;
  FakeStore store_;
  FakeFirewall firewall_{clock_};
  FakeSessions sessions_;
  std::vector<AuditEvent> announced_;
  std::vector<absl::Status> reported_;
  absl::Status start_;
  std::unique_ptr<Gatekeeper> gatekeeper_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_ENFORCER_GATE_H_
