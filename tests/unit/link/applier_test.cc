#include "agent/link/applier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_firewall.h"
#include "tests/fakes/fake_sessions.h"
#include "tests/fakes/fake_store.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr char kActor[] = "controller:ctl:7444";

// A gatekeeper over fakes on a thread of its own.
class ApplierTest : public testing::Test {
 protected:
  ApplierTest() {
    options_.limits.max_duration = absl::Hours(2);
    options_.limits.max_live_grants = 2;
    options_.limits.allowed_sources = {P("203.0.113.0/24")};
    options_.gate.ports = options_.limits.guarded_ports;
    Start();
  }

  ~ApplierTest() override { Stop(); }

  void Start() {
    gatekeeper_ = std::make_unique<Gatekeeper>(
        options_,
        Gatekeeper::Collaborators{.clock = clock_,
                                  .store = store_,
                                  .firewall = firewall_,
                                  .sessions = sessions_,
                                  .announce = [this](const AuditEvent& event) { Note(event); },
                                  .report = [](const absl::Status&) {}});
    EXPECT_EQ(gatekeeper_->Start(), absl::OkStatus());
    stopping_ = false;
    loop_ = std::thread([this] { Loop(); });
  }
  void Stop() {
    stopping_ = true;
    mailbox_.Ask([](Gatekeeper&) {}).IgnoreError();
    loop_.join();
  }

  template <typename T>
  T On(const std::function<T(Gatekeeper&)>& ask) {
    return *Asked<T>(mailbox_, ask);
  }
  bool Admits(const std::string& source) {
    return On<bool>([&](Gatekeeper&) { return firewall_.Admits(A(source), Protocol::kTcp, 22); });
  }
  // What is due by then is done.
  void Advance(absl::Duration by) {
    clock_.Advance(by);
    On<bool>([](Gatekeeper& gatekeeper) {
      gatekeeper.OnAlarm();
      return true;
    });
  }
  void FailCommits(const absl::Status& status) {
    On<bool>([&](Gatekeeper&) {
      store_.FailCommits(status);
      return true;
    });
  }

  static GrantRequest Wanted(int id, const std::string& source = "203.0.113.7") {
    GrantRequest request = Request(id);
    request.sources = {P(source)};
    request.not_after = absl::InfiniteFuture();
    return request;
  }

  Applied Apply(WantedGrants wanted) {
    const absl::StatusOr<Applied> applied = applier_.Apply(std::move(wanted), clock_.Read().boot);
    EXPECT_TRUE(applied.ok()) << applied.status();
    return applied.value_or(Applied());
  }

  // By somebody other than the applier.
  void Make(const GrantRequest& request, const std::string& actor) {
    std::promise<absl::StatusOr<Grant>> made;
    ASSERT_EQ(
        mailbox_.Submit({.request = CreateGrant{request},
                         .actor = actor,
                         .done = [&](absl::StatusOr<Grant> grant) { made.set_value(grant); }}),
        absl::OkStatus());
    const absl::StatusOr<Grant> grant = made.get_future().get();
    ASSERT_TRUE(grant.ok()) << grant.status();
  }

  v1::GrantState StateOf(const Applied& applied, int id) {
    const auto found = applied.reports.find(Id(id));
    EXPECT_NE(found, applied.reports.end()) << "there is no report of " << id;
    return found == applied.reports.end() ? v1::GRANT_STATE_UNSPECIFIED : found->second.state();
  }

  GatekeeperOptions options_;
  FakeClock clock_;
  FakeStore store_;
  FakeFirewall firewall_{clock_};
  FakeSessions sessions_;
  // Whether the source of the second grant was let in when the first one ended.
  bool second_before_first_ended_ = false;
  std::unique_ptr<Gatekeeper> gatekeeper_;
  Mailbox mailbox_;
  std::map<uint16_t, uint16_t> mapped_;
  Applier applier_{kActor, mailbox_, clock_,
                   [this](const std::vector<uint16_t>&) { return mapped_; }};

 private:
  void Note(const AuditEvent& event) {
    if (event.kind != AuditKind::kGrantRevoked || event.grant_id != Id(1)) return;
    second_before_first_ended_ = firewall_.Admits(A("203.0.113.8"), Protocol::kTcp, 22);
  }

  void Loop() {
    while (!stopping_) {
      pollfd waiting{.fd = mailbox_.fd(), .events = POLLIN, .revents = 0};
      poll(&waiting, 1, 1000);
      mailbox_.Drain(*gatekeeper_);
    }
  }

  std::atomic<bool> stopping_ = false;
  std::thread loop_;
};

TEST_F(ApplierTest, TellsWhereTheHostLeadsAPort) {
  mapped_ = {{22, 2222}};
  const Applied applied = Apply({.revision = 1, .grants = {Wanted(1)}});
  const v1::GrantReport& report = applied.reports.at(Id(1));
  ASSERT_EQ(report.mapped_ports_size(), 1);
  EXPECT_EQ(report.mapped_ports(0).number(), 22U);
  EXPECT_EQ(report.mapped_ports(0).mapped(), 2222U);
  // Read anew once a minute: many grants may come one by one.
  mapped_.clear();
  EXPECT_EQ(Apply({.revision = 2, .grants = {Wanted(1)}}).reports.at(Id(1)).mapped_ports_size(), 1);
  clock_.Advance(absl::Seconds(61));
  EXPECT_EQ(Apply({.revision = 3, .grants = {Wanted(1)}}).reports.at(Id(1)).mapped_ports_size(), 0);
}

TEST_F(ApplierTest, WhatIsWantedIsMadeOnce) {
  const WantedGrants wanted = {.revision = 1, .grants = {Wanted(1)}};
  EXPECT_EQ(StateOf(Apply(wanted), 1), v1::ACTIVE);
  EXPECT_TRUE(Admits("203.0.113.7"));
  const Applied again = Apply(wanted);
  EXPECT_EQ(StateOf(again, 1), v1::ACTIVE);
  EXPECT_THAT(again.trouble, IsEmpty());
  const std::vector<Grant> live =
      On<std::vector<Grant>>([](Gatekeeper& gatekeeper) { return *gatekeeper.List(0, 9, true); });
  ASSERT_EQ(live.size(), 1u);
  EXPECT_EQ(live[0].created_by, kActor);
}

TEST_F(ApplierTest, ANewerGrantOpensBeforeTheOlderCloses) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  const Applied applied =
      Apply({.revision = 2,
             .grants = {Wanted(2, "203.0.113.8")},
             .withdrawn = {{Id(1), {.keep_sessions = true, .superseded = true}}}});
  // Events are announced behind the answers.
  EXPECT_TRUE(On<bool>([&](Gatekeeper&) { return second_before_first_ended_; }));
  EXPECT_FALSE(Admits("203.0.113.7"));
  EXPECT_EQ(StateOf(applied, 1), v1::SUPERSEDED);
  EXPECT_EQ(StateOf(applied, 2), v1::ACTIVE);
}

TEST_F(ApplierTest, WhatTheLimitsRefuseIsToldAndNotTriedAgain) {
  GrantRequest wanted = Wanted(1);
  wanted.duration = absl::Hours(3);
  const Applied applied = Apply({.revision = 1, .grants = {wanted}});
  EXPECT_EQ(StateOf(applied, 1), v1::GRANT_STATE_UNSPECIFIED);
  EXPECT_THAT(applied.reports.at(Id(1)).reason(), HasSubstr("2h"));
  EXPECT_THAT(applied.pending, IsEmpty());
}

// What there is no room for keeps nothing else waiting.
TEST_F(ApplierTest, WhatMayPassIsPendingAndTheRestIsTold) {
  const std::vector<GrantRequest> three = {Wanted(1), Wanted(2, "203.0.113.8"),
                                           Wanted(3, "203.0.113.9")};
  const Applied full = Apply({.revision = 1, .grants = three});
  EXPECT_EQ(StateOf(full, 1), v1::ACTIVE);
  EXPECT_EQ(StateOf(full, 2), v1::ACTIVE);
  EXPECT_THAT(full.pending, ElementsAre(Id(3)));
  EXPECT_THAT(full.trouble, HasSubstr(Id(3)));
  const Applied room = Apply({.revision = 2, .grants = {three[1]}});
  EXPECT_EQ(StateOf(room, 1), v1::REVOKED);
  const Applied all = Apply({.revision = 3, .grants = {three[1], three[2]}});
  EXPECT_EQ(StateOf(all, 3), v1::ACTIVE);
  EXPECT_THAT(all.trouble, IsEmpty());
}

TEST_F(ApplierTest, AFullDiskMayPass) {
  FailCommits(absl::ResourceExhaustedError("the disk is full"));
  const WantedGrants wanted = {.revision = 1, .grants = {Wanted(1)}};
  const Applied full = Apply(wanted);
  EXPECT_THAT(full.pending, ElementsAre(Id(1)));
  EXPECT_THAT(full.trouble, HasSubstr("the disk is full"));
  EXPECT_FALSE(Admits("203.0.113.7"));
  FailCommits(absl::OkStatus());
  EXPECT_EQ(StateOf(Apply(wanted), 1), v1::ACTIVE);
}

TEST_F(ApplierTest, AnExtensionThatIsRefusedLeavesTheGrant) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  GrantRequest longer = Wanted(1);
  longer.duration = absl::Hours(3);
  const Applied applied = Apply({.revision = 2, .grants = {longer}});
  EXPECT_EQ(StateOf(applied, 1), v1::ACTIVE);
  const v1::GrantReport& report = applied.reports.at(Id(1));
  EXPECT_THAT(report.reason(), HasSubstr("2h"));
  EXPECT_EQ(absl::FromUnixSeconds(report.end_time().seconds()),
            clock_.Read().wall + absl::Hours(1));
  EXPECT_THAT(applied.pending, IsEmpty());
  EXPECT_TRUE(Admits("203.0.113.7"));
}

// The old source is nobody's any more.
TEST_F(ApplierTest, AMoveThatIsRefusedClosesTheGrant) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  const Applied applied = Apply({.revision = 2, .grants = {Wanted(1, "198.51.100.1")}});
  EXPECT_EQ(StateOf(applied, 1), v1::GRANT_STATE_UNSPECIFIED);
  EXPECT_THAT(applied.reports.at(Id(1)).reason(), StartsWith("it was moved to sources"));
  EXPECT_TRUE(applied.reports.at(Id(1)).has_start_time());
  EXPECT_FALSE(Admits("203.0.113.7"));
  // The end as it is told by itself, and after a reconnect.
  EXPECT_EQ(applier_.Report(Id(1))->state(), v1::GRANT_STATE_UNSPECIFIED);
  const Applied again = Apply({.revision = 2, .grants = {Wanted(1, "198.51.100.1")}});
  EXPECT_EQ(StateOf(again, 1), v1::GRANT_STATE_UNSPECIFIED);
}

TEST_F(ApplierTest, AnExtensionBesideAMoveThatIsRefusedSavesNothing) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  GrantRequest both = Wanted(1, "198.51.100.1");
  both.duration = absl::Minutes(90);
  const Applied applied = Apply({.revision = 2, .grants = {both}});
  EXPECT_EQ(StateOf(applied, 1), v1::GRANT_STATE_UNSPECIFIED);
  EXPECT_THAT(applied.reports.at(Id(1)).reason(), StartsWith("it was moved to sources"));
  EXPECT_FALSE(Admits("203.0.113.7"));
}

TEST_F(ApplierTest, OthersGrantsAreNotTouched) {
  Make(Request(1), "local");
  EXPECT_THAT(Apply({.revision = 1}).reports, IsEmpty());
  EXPECT_TRUE(Admits("203.0.113.7"));
  EXPECT_TRUE(absl::IsNotFound(applier_.Report(Id(1)).status()));
  const Applied taken = Apply({.revision = 2, .grants = {Wanted(1)}});
  EXPECT_EQ(StateOf(taken, 1), v1::GRANT_STATE_UNSPECIFIED);
  EXPECT_THAT(taken.reports.at(Id(1)).reason(), HasSubstr("another's grant"));
}

constexpr char kFormer[] = "controller:other:1";

TEST_F(ApplierTest, WhatAnotherControllerMadeIsAdopted) {
  Make(Request(1), kFormer);
  const Applied adopted = Apply({.revision = 1, .grants = {Wanted(1)}});
  EXPECT_EQ(StateOf(adopted, 1), v1::ACTIVE);
  EXPECT_THAT(adopted.reports.at(Id(1)).reason(), IsEmpty());
  GrantRequest longer = Wanted(1, "203.0.113.8");
  longer.duration = absl::Minutes(90);
  EXPECT_EQ(StateOf(Apply({.revision = 2, .grants = {longer}}), 1), v1::ACTIVE);
  EXPECT_TRUE(Admits("203.0.113.8"));
  EXPECT_FALSE(Admits("203.0.113.7"));
  const Grant grant = On<Grant>([](Gatekeeper& gatekeeper) { return *gatekeeper.Get(Id(1)); });
  EXPECT_EQ(grant.end, clock_.Read().wall + absl::Minutes(90));
}

TEST_F(ApplierTest, WhatAnotherControllerMadeIsRevokedAndItsEndTold) {
  Make(Request(1), kFormer);
  Make(Request(2), kFormer);
  const Applied applied =
      Apply({.revision = 1, .withdrawn = {{Id(1), {.reason = "UserRequested"}}}});
  EXPECT_EQ(StateOf(applied, 1), v1::REVOKED);
  EXPECT_EQ(StateOf(applied, 2), v1::REVOKED);
  EXPECT_FALSE(Admits("203.0.113.7"));
  const absl::StatusOr<v1::GrantReport> end = applier_.Report(Id(1));
  ASSERT_TRUE(end.ok()) << end.status();
  EXPECT_THAT(end->reason(), HasSubstr("UserRequested"));
}

TEST_F(ApplierTest, TheUsageOfWhatLivesAndIsWantedIsTold) {
  const WantedGrants wanted = {.revision = 1, .grants = {Wanted(1), Wanted(3)}};
  Make(Request(2), "local");
  Apply({.revision = 1, .grants = {Wanted(1)}});
  On<bool>([&](Gatekeeper&) {
    const AccessKey key = Key("203.0.113.7", 22);
    firewall_.Use(SetOf(key, AdmissionOf(OnExpiry::kKeep)), key, {.packets = 3, .bytes = 180});
    return true;
  });
  const absl::StatusOr<std::vector<v1::GrantReport>> usage = applier_.Usage(wanted);
  ASSERT_TRUE(usage.ok()) << usage.status();
  ASSERT_EQ(usage->size(), 1u);
  EXPECT_EQ((*usage)[0].id(), Id(1));
  EXPECT_EQ((*usage)[0].state(), v1::ACTIVE);
  EXPECT_EQ((*usage)[0].usage().packets(), 3u);
  EXPECT_FALSE((*usage)[0].has_end_time());
}

TEST_F(ApplierTest, WhatHadEndedBeforeItWasWithdrawnIsToldWithItsUsage) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  On<bool>([&](Gatekeeper& gatekeeper) {
    const AccessKey key = Key("203.0.113.7", 22);
    firewall_.Use(SetOf(key, AdmissionOf(OnExpiry::kKeep)), key, {.packets = 3, .bytes = 180});
    return gatekeeper.Get(Id(1)).ok();
  });
  Advance(absl::Hours(1));
  const Applied applied =
      Apply({.revision = 2,
             .withdrawn = {{Id(1), {.reason = "Expired", .keep_sessions = true}}, {Id(2), {}}}});
  EXPECT_EQ(StateOf(applied, 1), v1::EXPIRED);
  EXPECT_EQ(applied.reports.at(Id(1)).usage().packets(), 3u);
  EXPECT_EQ(applied.reports.at(Id(1)).usage().bytes(), 180u);
  EXPECT_EQ(applied.reports.size(), 1u);
  EXPECT_THAT(applied.pending, IsEmpty());
}

// The controller asks for an end until a state without it is done.
TEST_F(ApplierTest, AStateIsNotDoneBeforeWhatIsAboutToEndHasEnded) {
  Apply({.revision = 1, .grants = {Wanted(1)}});
  Advance(absl::Hours(1) - absl::Seconds(1));
  const WantedGrants over = {.revision = 2,
                             .withdrawn = {{Id(1), {.reason = "Expired", .keep_sessions = true}}}};
  const Applied before = Apply(over);
  EXPECT_THAT(before.pending, ElementsAre(Id(1)));
  EXPECT_THAT(before.trouble, IsEmpty());
  Advance(absl::Seconds(1));
  const Applied after = Apply(over);
  EXPECT_THAT(after.pending, IsEmpty());
  EXPECT_EQ(StateOf(after, 1), v1::EXPIRED);
}

// More than are looked up at once.
TEST_F(ApplierTest, ManyEndsAreTold) {
  options_.limits.max_live_grants = 1000;
  On<bool>([&](Gatekeeper& gatekeeper) { return gatekeeper.Reconfigure(options_, "agent").ok(); });
  WantedGrants wanted = {.revision = 1};
  WantedGrants over = {.revision = 2};
  for (int i = 1; i <= 600; ++i) {
    wanted.grants.push_back(Wanted(i));
    over.withdrawn[Id(i)] = {};
  }
  Apply(std::move(wanted));
  Advance(absl::Hours(1));
  const Applied applied = Apply(std::move(over));
  EXPECT_EQ(applied.reports.size(), 600u);
  EXPECT_EQ(StateOf(applied, 600), v1::EXPIRED);
}

// After a reboot with a clock that cannot be right.
TEST_F(ApplierTest, WhatIsWithheldIsNotToldToBeActive) {
  const WantedGrants wanted = {.revision = 1, .grants = {Wanted(1)}};
  Apply(wanted);
  const absl::Time right = clock_.Read().wall;
  Stop();
  firewall_.DeleteTable();
  clock_.Reboot(right - absl::Hours(48));
  clock_.SetSynchronised(false);
  Start();
  const Applied withheld = Apply(wanted);
  EXPECT_THAT(withheld.reports, IsEmpty());
  EXPECT_THAT(withheld.pending, ElementsAre(Id(1)));
  EXPECT_THAT(withheld.trouble, HasSubstr("withheld"));
  EXPECT_THAT(*applier_.Usage(wanted), IsEmpty());
  clock_.StepWall(right - clock_.Read().wall);
  clock_.SetSynchronised(true);
  Advance(absl::Minutes(1));
  const Applied restored = Apply(wanted);
  EXPECT_EQ(StateOf(restored, 1), v1::ACTIVE);
  EXPECT_THAT(restored.pending, IsEmpty());
  EXPECT_TRUE(Admits("203.0.113.7"));
}

TEST_F(ApplierTest, TheTimeUntilItIsMadeIsTakenOff) {
  const BootTime came = clock_.Read().boot;
  clock_.Advance(absl::Minutes(10));
  const absl::StatusOr<Applied> applied =
      applier_.Apply({.revision = 1, .grants = {Wanted(1)}}, came);
  ASSERT_TRUE(applied.ok()) << applied.status();
  const Grant grant = On<Grant>([](Gatekeeper& gatekeeper) { return *gatekeeper.Get(Id(1)); });
  EXPECT_EQ(grant.end, clock_.Read().wall + absl::Minutes(50));
}

// As many as a state may have, through a mailbox that holds fewer.
TEST_F(ApplierTest, ManyGrantsFitThroughTheMailbox) {
  options_.limits.max_live_grants = 10'000;
  On<bool>([&](Gatekeeper& gatekeeper) { return gatekeeper.Reconfigure(options_, "agent").ok(); });
  WantedGrants wanted = {.revision = 1};
  for (int i = 1; i <= 5000; ++i) wanted.grants.push_back(Wanted(i));
  const Applied applied = Apply(std::move(wanted));
  EXPECT_EQ(applied.reports.size(), 5000u);
  EXPECT_THAT(applied.pending, IsEmpty());
}

TEST_F(ApplierTest, AnAgentThatStopsIsAnError) {
  mailbox_.Close();
  EXPECT_TRUE(absl::IsUnavailable(applier_.Apply({.revision = 1}, BootTime()).status()));
}

}  // namespace
}  // namespace postern
