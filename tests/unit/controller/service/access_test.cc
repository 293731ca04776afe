#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "controller/domain/error.h"
#include "tests/unit/controller/service/fixture.h"

namespace postern::controller {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

TEST_P(ServiceTest, ARequestIsWantedOfItsVmAndInitiatedOnceTheAgentHasIt) {
  TakeChanged();
  const Request request = Initiate("ana", 22, absl::Hours(1));
  EXPECT_THAT(TakeChanged(), ElementsAre(Vm("web-1").Key()));
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
  const Wanted wanted = WantedOf("web-1");
  ASSERT_THAT(wanted.grants, SizeIs(1));
  EXPECT_EQ(wanted.grants[0].id, request.ports[0].grant_id);
  EXPECT_EQ(wanted.grants[0].end, clock_.Read().wall + absl::Hours(1));
  EXPECT_THAT(WantedOf("web-2").grants, IsEmpty());

  Apply("web-1");
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiated);
  EXPECT_THAT(Audit("Postern/grants/apply"), SizeIs(1));
}

TEST_P(ServiceTest, ARefusalByTheAgentIsTheReason) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = 1,
                                             .grants = {{.id = request.ports[0].grant_id,
                                                         .reason = "longer than max_duration"}}}),
            absl::OkStatus());
  const RequestedPort port = Get(request.id).ports[0];
  EXPECT_EQ(port.status, PortStatus::kRevoked);
  EXPECT_EQ(port.reason, EndReason::kRefusedByAgent);
  EXPECT_EQ(port.detail, "longer than max_duration");
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
}

TEST_P(ServiceTest, ANewerRequestForThePortReplacesTheOlder) {
  const Request older = Initiate("ana", 22, absl::Hours(1));
  const Request other_port = Initiate("ana", 3389, absl::Hours(1));
  const Request of_another = Initiate("ben", 22, absl::Hours(1));
  Apply("web-1");
  const Request newer = Initiate("ana", 22, absl::Hours(2));

  EXPECT_EQ(Get(older.id).ports[0].reason, EndReason::kNewerRequestInitiated);
  EXPECT_EQ(Get(other_port.id).ports[0].status, PortStatus::kInitiated);
  EXPECT_EQ(Get(of_another.id).ports[0].status, PortStatus::kInitiated);
  // One revision has both, so that the agent can open before it closes.
  const Wanted wanted = WantedOf("web-1");
  EXPECT_THAT(wanted.grants, SizeIs(3));
  ASSERT_THAT(wanted.withdrawn, SizeIs(1));
  EXPECT_EQ(wanted.withdrawn[0].id, older.ports[0].grant_id);
  EXPECT_TRUE(wanted.withdrawn[0].keep_sessions);
  EXPECT_TRUE(wanted.withdrawn[0].superseded);

  Apply("web-1");
  EXPECT_THAT(WantedOf("web-1").withdrawn, IsEmpty());
}

TEST_P(ServiceTest, ARepeatOfTheSameCallMakesOneRequest) {
  const Asked asked = Ask(22, absl::Hours(1));
  const absl::StatusOr<Request> first =
      access_->Initiate(By("ana", "call-1"), WebPolicyId(), asked);
  clock_.Advance(absl::Seconds(5));
  const absl::StatusOr<Request> again =
      access_->Initiate(By("ana", "call-1"), WebPolicyId(), asked);
  const absl::StatusOr<Request> of_another =
      access_->Initiate(By("ben", "call-1"), WebPolicyId(), asked);
  ASSERT_TRUE(first.ok() && again.ok() && of_another.ok());
  EXPECT_EQ(first->id, again->id);
  EXPECT_NE(first->id, of_another->id);
  EXPECT_THAT(Audit(std::string(ActionName(Action::kInitiate))), SizeIs(2));
}

TEST_P(ServiceTest, ACallThatAsksForSomethingElseIsNoRepeat) {
  const Asked asked = Ask(22, absl::Hours(1));
  const absl::StatusOr<Request> first =
      access_->Initiate(By("ana", "call-1"), WebPolicyId(), asked);
  ASSERT_TRUE(first.ok()) << first.status();
  Asked other_source = asked;
  other_source.vms[0].ports[0].sources = Sources{.prefixes = {*Prefix::Parse("203.0.113.9")}};
  Asked other_reason = asked;
  other_reason.justification = "another";
  for (const Asked& other : {Ask(22, absl::Hours(2)), Ask(3389, absl::Hours(1)),
                             Ask(22, absl::Hours(1), "web-2"), other_source, other_reason}) {
    const absl::Status status =
        access_->Initiate(By("ana", "call-1"), WebPolicyId(), other).status();
    EXPECT_EQ(AzureCodeOf(status), "ClientRequestIdInUse");
    EXPECT_THAT(std::string(status.message()), HasSubstr(first->id));
  }
  // Whatever has become of it since.
  ASSERT_TRUE(access_->ExtendRequest(By("ana"), first->id, absl::Hours(1)).ok());
  const absl::StatusOr<Request> again =
      access_->Initiate(By("ana", "call-1"), WebPolicyId(), asked);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->id, first->id);
}

TEST_P(ServiceTest, ARequestIsAllOrNothing) {
  Asked asked = Ask(22, absl::Hours(1));
  asked.vms.push_back({.id = Vm("web-2"), .ports = {{.number = 3389, .duration = absl::Hours(1)}}});
  EXPECT_FALSE(access_->Initiate(By("ana"), WebPolicyId(), asked).ok());
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
  const std::vector<AuditRow> rows = Audit(std::string(ActionName(Action::kInitiate)));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].status, "Failed");
  EXPECT_THAT(rows[0].detail, HasSubstr("3389"));
}

TEST_P(ServiceTest, EndsWhenItsTimeHasCome) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  EXPECT_EQ(*access_->EndWhatIsDue(), clock_.Read().wall + absl::Hours(1));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(WantedOf("web-1").grants, IsEmpty());
  EXPECT_EQ(*access_->EndWhatIsDue(), absl::InfiniteFuture());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kExpired);
  // What the agent tells of it comes later, and is kept.
  const absl::Time used = clock_.Read().wall - absl::Minutes(50);
  const Report report = {.revision = 1,
                         .grants = {{.id = request.ports[0].grant_id,
                                     .state = ReportedState::kExpired,
                                     .packets = 7,
                                     .bytes = 4200,
                                     .first_used = used,
                                     .last_used = used}}};
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), report), absl::OkStatus());
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), report), absl::OkStatus());
  EXPECT_EQ(Get(request.id).ports[0].usage.bytes, 4200);
  const std::vector<AuditRow> ends = Audit("Postern/grants/end");
  ASSERT_THAT(ends, SizeIs(1));
  EXPECT_THAT(ends[0].detail, HasSubstr("\"packets\":\"7\""));
}

TEST_P(ServiceTest, ADamagedRowKeepsNoOtherFromItsEnd) {
  const Request damaged = Initiate("ana", 22, absl::Minutes(10));
  const Request sound = Initiate("ben", 22, absl::Minutes(20));
  ASSERT_EQ(store_->database().Write([&](SqlTransaction& transaction) {
    return transaction
        .Execute("UPDATE request_ports SET sources = 'nowhere' WHERE request_id = $1", {damaged.id})
        .status();
  }),
            absl::OkStatus());
  clock_.Advance(absl::Minutes(20));
  const absl::Status status = access_->EndWhatIsDue().status();
  EXPECT_THAT(std::string(status.message()), HasSubstr(damaged.ports[0].grant_id));
  EXPECT_EQ(Get(sound.id).ports[0].reason, EndReason::kNeverApplied);
}

TEST_P(ServiceTest, WhatItsVmMayStillHaveOpenIsListedWithWhatIsLive) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const Request never = Initiate("ben", 22, absl::Hours(1));
  const auto listed = [&] {
    std::vector<std::string> ids;
    const auto page = access_->ListRequests(By("owner"), {}, /*include_ended=*/false, "");
    EXPECT_TRUE(page.ok()) << page.status();
    if (page.ok()) {
      for (const Request& one : page->items) ids.push_back(one.id);
    }
    return ids;
  };
  // The agent has told of the one only.
  ASSERT_EQ(fleet_->Take(StreamOf("web-1"), {.revision = 1,
                                             .grants = {{.id = request.ports[0].grant_id,
                                                         .state = ReportedState::kActive}}}),
            absl::OkStatus());
  ASSERT_TRUE(access_->EndRequest(By("owner"), request.id, "").ok());
  ASSERT_TRUE(access_->EndRequest(By("owner"), never.id, "").ok());
  EXPECT_THAT(listed(), ElementsAre(request.id));
  clock_.Advance(absl::Minutes(59));
  EXPECT_THAT(listed(), ElementsAre(request.id));
  // There the VM's kernel has closed it.
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(listed(), IsEmpty());
}

TEST_P(ServiceTest, WhatItsVmHasClosedIsNotListedWithWhatIsLive) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  ASSERT_TRUE(access_->EndRequest(By("ana"), request.id, "").ok());
  EXPECT_THAT(access_->ListRequests(By("owner"), {}, false, "")->items, SizeIs(1));
  Apply("web-1");
  EXPECT_THAT(access_->ListRequests(By("owner"), {}, false, "")->items, IsEmpty());
}

TEST_P(ServiceTest, WhatNoAgentTookInTimeWasNeverApplied) {
  const Request request = Initiate("ana", 22, absl::Minutes(10));
  clock_.Advance(absl::Minutes(10));
  ASSERT_TRUE(access_->EndWhatIsDue().ok());
  EXPECT_EQ(Get(request.id).ports[0].reason, EndReason::kNeverApplied);
}

TEST_P(ServiceTest, TheRequestorAndAnAdminEndARequestAndNobodyElse) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  EXPECT_EQ(access_->EndRequest(By("ben"), request.id, "").status().code(),
            absl::StatusCode::kPermissionDenied);
  const absl::StatusOr<Request> ended = access_->EndRequest(By("ana"), request.id, "done");
  ASSERT_TRUE(ended.ok()) << ended.status();
  EXPECT_EQ(ended->ports[0].reason, EndReason::kUserRequested);
  const Wanted wanted = WantedOf("web-1");
  EXPECT_THAT(wanted.grants, IsEmpty());
  ASSERT_THAT(wanted.withdrawn, SizeIs(1));
  EXPECT_FALSE(wanted.withdrawn[0].keep_sessions);
  EXPECT_FALSE(wanted.withdrawn[0].superseded);

  const Request another = Initiate("ana", 22, absl::Hours(1));
  EXPECT_TRUE(access_->EndRequest(By("owner"), another.id, "").ok());
}

TEST_P(ServiceTest, AVmIsNotForgottenWhileItsPortsMayBeOpen) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  ASSERT_TRUE(access_->DeletePolicy(By("owner"), WebPolicyId(), {}).ok());
  const absl::Status refused = access_->RemoveVm(By("owner"), Vm("web-1"), /*force=*/false);
  EXPECT_EQ(AzureCodeOf(refused), "ResourceInUse");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("by force"));
  // Of the other, nothing was open.
  EXPECT_EQ(access_->RemoveVm(By("owner"), Vm("web-2"), /*force=*/false), absl::OkStatus());
  Apply("web-1");
  EXPECT_EQ(access_->RemoveVm(By("owner"), Vm("web-1"), /*force=*/false), absl::OkStatus());
}

TEST_P(ServiceTest, AVmIsEnabledWithTheRecommendedPorts) {
  Join("db-1");
  EXPECT_EQ(access_->EnableVm(By("eve"), Vm("db-1")).status().code(),
            absl::StatusCode::kPermissionDenied);
  const absl::StatusOr<PolicyView> view = access_->EnableVm(By("owner"), Vm("db-1"));
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->policy.id.name, "default");
  EXPECT_EQ(view->policy.id.location, "west");
  // What the policy has already stays.
  EXPECT_THAT(view->policy.vms, SizeIs(3));
  const PolicyVm* vm = FindVm(view->policy, Vm("db-1"));
  ASSERT_NE(vm, nullptr);
  EXPECT_EQ(vm->ports, RecommendedPorts());
  EXPECT_EQ(vm->ports.size(), 4U);
  EXPECT_TRUE(
      access_->Initiate(By("owner"), view->policy.id, Ask(5986, absl::Hours(3), "db-1")).ok());
  const absl::StatusOr<PolicyView> again = access_->EnableVm(By("owner"), Vm("db-1"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->policy.version, view->policy.version);
  EXPECT_EQ(access_->EnableVm(By("owner"), Vm("nobody")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_P(ServiceTest, AVmIsForgottenByForce) {
  Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  ASSERT_TRUE(access_->DeletePolicy(By("owner"), WebPolicyId(), {}).ok());
  EXPECT_EQ(access_->RemoveVm(By("owner"), Vm("web-1"), /*force=*/true), absl::OkStatus());
  EXPECT_THAT(Audit("Microsoft.Compute/virtualMachines/delete")[0].detail, HasSubstr("force"));
}

TEST_P(ServiceTest, ARoleOnOneVmShowsThatVmAlone) {
  Assign("cleo", BuiltInRole::kJitRequester, Vm("web-2").ToString());
  Initiate("ana", 22, absl::Hours(1));
  const absl::StatusOr<PolicyView> view = access_->GetPolicy(By("cleo"), WebPolicyId());
  ASSERT_TRUE(view.ok()) << view.status();
  ASSERT_THAT(view->policy.vms, SizeIs(1));
  EXPECT_EQ(view->policy.vms[0].id.name, "web-2");
  EXPECT_THAT(view->requests, IsEmpty());
  EXPECT_TRUE(access_->Initiate(By("cleo"), WebPolicyId(), Ask(22, absl::Hours(1), "web-2")).ok());
  EXPECT_EQ(access_->Initiate(By("cleo"), WebPolicyId(), Ask(22, absl::Hours(1))).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_P(ServiceTest, VmsStandInTheirGroups) {
  Join("web-3");
  ASSERT_EQ(fleet_->Attached(StreamOf("web-3"), kSerial, {.enforces = false}), absl::OkStatus());
  Join("web-4");
  const Request request = Initiate("ana", 22, absl::Hours(1));
  Apply("web-1");
  const absl::StatusOr<Page<VmView>> page = access_->ListVms(By("ana"), {}, "");
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_THAT(page->items, SizeIs(4));
  EXPECT_EQ(page->items[0].group, VmGroup::kConfigured);
  EXPECT_EQ(page->items[0].requests_of_seven_days, 1);
  EXPECT_EQ(page->items[0].last_user, "ana");
  EXPECT_EQ(page->items[2].group, VmGroup::kUnsupported);
  EXPECT_THAT(page->items[2].reason, HasSubstr("observes"));
  EXPECT_EQ(page->items[3].group, VmGroup::kNotConfigured);
  EXPECT_THAT(access_->ListVms(By("eve"), {}, "")->items, IsEmpty());
}

// Each call by who may not, one at a time; every refusal is written down.
TEST_P(ServiceTest, NobodyWithoutARoleGetsAnything) {
  const Request request = Initiate("ana", 22, absl::Hours(1));
  const Caller eve = By("eve");
  const std::vector<std::function<absl::Status()>> calls = {
      [&] { return access_->PutPolicy(eve, WebPolicy()).status(); },
      [&] { return access_->GetPolicy(eve, WebPolicyId()).status(); },
      [&] { return access_->DeletePolicy(eve, WebPolicyId(), {}).status(); },
      [&] { return access_->Initiate(eve, WebPolicyId(), Ask(22, absl::Hours(1))).status(); },
      [&] { return access_->GetRequest(eve, request.id).status(); },
      [&] { return access_->EndRequest(eve, request.id, "").status(); },
      [&] { return access_->ExtendRequest(eve, request.id, absl::Hours(1)).status(); },
      [&] { return access_->MoveRequest(eve, request.id, Sources{}).status(); },
      [&] { return access_->GetVm(eve, Vm("web-1")).status(); },
      [&] { return access_->RemoveVm(eve, Vm("web-1"), /*force=*/false); },
      [&] {
        return access_->CreateJoinToken(eve, Scope::Of(Vm("web-1")), "west", 1, absl::Hours(1))
            .status();
      },
      [&] { return access_->AssignRole(eve, {.principal = "eve", .role = BuiltInRole::kOwner}); },
      [&] { return access_->CreateAccessToken(eve, "owner", absl::Hours(1)).status(); },
      [&] { return access_->ListAccessTokens(eve).status(); },
      [&] { return access_->ReadAudit(eve, {}, 10).status(); },
      [&] { return access_->VerifyAudit(eve); },
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    const size_t before = Audit().size();
    EXPECT_EQ(calls[i]().code(), absl::StatusCode::kPermissionDenied) << i;
    const std::vector<AuditRow> rows = Audit();
    ASSERT_EQ(rows.size(), before + 1) << i;
    EXPECT_EQ(rows.back().status, "Denied") << i;
    EXPECT_EQ(rows.back().caller, "eve") << i;
  }
  EXPECT_THAT(access_->ListPolicies(eve, {}, "")->items, IsEmpty());
  EXPECT_THAT(access_->ListRequests(eve, {}, true, "")->items, IsEmpty());
  EXPECT_EQ(Get(request.id).ports[0].status, PortStatus::kInitiating);
}

TEST_P(ServiceTest, RequestsAreListedNewestFirstInPages) {
  std::set<std::string> made;
  for (int i = 0; i < 105; ++i) {
    made.insert(Initiate("ana", 22, absl::Hours(1)).id);
    if (i % 3 == 0) clock_.Advance(absl::Seconds(1));
  }
  std::set<std::string> listed;
  std::string page;
  int pages = 0;
  do {
    const absl::StatusOr<Page<Request>> answer = access_->ListRequests(By("ana"), {}, true, page);
    ASSERT_TRUE(answer.ok()) << answer.status();
    for (const Request& request : answer->items) EXPECT_TRUE(listed.insert(request.id).second);
    page = answer->next;
    ++pages;
  } while (!page.empty());
  EXPECT_EQ(listed, made);
  EXPECT_EQ(pages, 2);
  EXPECT_THAT(access_->ListRequests(By("ana"), {}, false, "")->items, SizeIs(1));
  EXPECT_FALSE(access_->ListRequests(By("ana"), {}, false, "x").ok());
}

}  // namespace
}  // namespace postern::controller
