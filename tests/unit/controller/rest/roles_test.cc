// Every operation of the REST interface by every role on every kind of scope.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/rest/path.h"
#include "controller/rest/routes.h"
#include "tests/unit/controller/rest/api_fixture.h"

namespace postern::controller {
namespace {

using testing::Each;
using testing::Field;
using testing::SizeIs;

constexpr char kWeb1[] =
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web/providers/"
    "Microsoft.Compute/virtualMachines/web-1";
constexpr char kWeb10[] =
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web/providers/"
    "Microsoft.Compute/virtualMachines/web-10";

// Where a role may be, from the widest to the narrowest. What is asked about is web-1,
// in the group web.
constexpr const char* kScopes[] = {
    "/",
    "/subscriptions/11111111-2222-3333-4444-555555555555",
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web",
    kWeb1,
};
constexpr size_t kAll = 0;
constexpr size_t kGroup = 2;
constexpr size_t kVm = 3;
// A role on these has nothing to do with it.
constexpr const char* kElsewhere[] = {
    "/subscriptions/99999999-2222-3333-4444-555555555555",
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/web-1",
    kWeb10,
};
constexpr const char* kRoles[] = {"Owner", "Security Admin", "JIT Requester", "Security Reader",
                                  "Reader"};

class RolesTest : public ApiTest {
 protected:
  struct Operation {
    std::string method;
    std::string target;
    Json body;
    // By the first letters of the roles, but A for Security Admin.
    std::string allowed;
    // The narrowest scope on which the role is enough.
    size_t scope = kVm;
    // Of the answer to who may.
    int status = 200;
  };
  struct List {
    std::string target;
    std::string name;
    std::string allowed;
  };
  struct Holder {
    std::string principal;
    char letter = ' ';
    // Its place in kScopes; more than that where it is elsewhere.
    size_t scope = 0;
    std::string token = {};
  };

  // A policy, a request that is live and one that waits, tokens of both kinds.
  void SetUp() override {
    ApiTest::SetUp();
    owner_ = token_;
    Call("PUT", absl::StrCat(PolicyPath(), kVersion), PolicyBody(), 200);
    live_ = Ask("default");
    Json approved = PolicyBody();
    approved["properties"]["postern"] = {{"approvals", {{"count", 1}, {"role", "Security Admin"}}}};
    Call("PUT", absl::StrCat(PolicyPath("approved"), kVersion), approved, 200);
    waiting_ = Ask("approved");
    join_token_ =
        IdOf(Call("POST", "/postern/v1/join-tokens",
                  {{"scope", kScopes[kGroup]}, {"location", "west"}, {"lifetime", "1h"}}, 201));
    access_token_ =
        IdOf(Call("POST", "/postern/v1/tokens", {{"principal", "zoe"}, {"lifetime", "1h"}}, 201));
    Call("PUT", "/postern/v1/roles", RoleOf("zoe", "Reader", kScopes[kVm]), 204);
  }

  static std::string IdOf(const Json& json) { return json["id"].get<std::string>(); }
  static Json RoleOf(const std::string& who, const std::string& role, const std::string& scope) {
    return {{"principal", who}, {"role", role}, {"scope", scope}};
  }
  std::string Ask(const std::string& policy) {
    const Json made =
        Call("POST", absl::StrCat(PolicyPath(policy), "/initiate", kVersion), AskBody(), 202);
    return absl::StrCat("/postern/v1/requests/", IdOf(made["postern"]));
  }

  // Each operation but the lists.
  std::vector<Operation> Operations() const {
    const std::string policy = absl::StrCat(PolicyPath(), kVersion);
    const std::string vm = absl::StrCat("/postern/v1/vm?id=", kScopes[kVm]);
    const Json join = {{"scope", kScopes[kVm]}, {"location", "west"}, {"lifetime", "1h"}};
    const Json role = RoleOf("zoe", "Reader", kScopes[kVm]);
    const Json source = {{"allowedSourceAddressPrefix", "198.51.100.7"}};
    return {
        {"GET", policy, nullptr, "OAJSR"},
        {"PUT", policy, PolicyBody(), "OA", kGroup},
        {"DELETE", policy, nullptr, "OA", kGroup},
        {"POST", absl::StrCat(PolicyPath(), "/initiate", kVersion), AskBody(), "OJ", kVm, 202},
        {"GET", vm, nullptr, "OAJSR"},
        {"POST", absl::StrCat("/postern/v1/vm/enable?id=", kScopes[kVm]), nullptr, "OA", kGroup},
        // Refused to nobody who may, but for the policies that it is in.
        {"DELETE", vm, nullptr, "OA", kVm, 409},
        {"GET", live_, nullptr, "OAJSR"},
        {"POST", live_ + "/end", Json::object(), "OA"},
        {"POST", live_ + "/extend", {{"duration", "1h"}}, "OA"},
        {"POST", live_ + "/move", source, "OA"},
        {"POST", waiting_ + "/approve", Json::object(), "A"},
        {"POST", waiting_ + "/deny", Json::object(), "A"},
        {"POST", "/postern/v1/join-tokens", join, "OA", kVm, 201},
        {"DELETE", "/postern/v1/join-tokens/" + join_token_, nullptr, "OA", kGroup, 204},
        {"GET", "/postern/v1/tokens", nullptr, "O", kAll},
        {"POST", "/postern/v1/tokens", {{"principal", "zoe"}, {"lifetime", "1h"}}, "O", kAll, 201},
        {"DELETE", "/postern/v1/tokens/" + access_token_, nullptr, "O", kAll, 204},
        {"PUT", "/postern/v1/roles", role, "O", kVm, 204},
        {"DELETE", "/postern/v1/roles", role, "O", kVm, 204},
        {"GET", "/postern/v1/audit", nullptr, "OAS", kAll},
        {"POST", "/postern/v1/audit/verify", nullptr, "OAS", kAll},
    };
  }

  // Those that show what the caller may see, and refuse nobody.
  static std::vector<List> Lists() {
    const std::string provider = "/providers/Microsoft.Security";
    const std::string region = provider + "/locations/west";
    const std::string policies = absl::StrCat("/jitNetworkAccessPolicies", kVersion);
    return {
        {absl::StrCat(kScopes[1], provider, policies), "value", "OAJSR"},
        {absl::StrCat(kScopes[1], region, policies), "value", "OAJSR"},
        {absl::StrCat(kScopes[kGroup], provider, policies), "value", "OAJSR"},
        {absl::StrCat(kScopes[kGroup], region, policies), "value", "OAJSR"},
        {"/postern/v1/policies", "policies", "OAJSR"},
        {"/postern/v1/vms", "vms", "OAJSR"},
        {"/postern/v1/requests?include_ended=true", "requests", "OAJSR"},
        {"/postern/v1/join-tokens", "join_tokens", "OA"},
    };
  }

  // Somebody with each role on each scope, and somebody with none.
  std::vector<Holder> Holders() {
    token_ = owner_;
    std::vector<Holder> holders;
    const auto add = [&](const std::string& role, const std::string& scope, size_t place) {
      Holder holder = {.principal = absl::StrCat(role, " on ", scope),
                       .letter = role == "Security Admin" ? 'A' : role[0],
                       .scope = place};
      if (role != "nobody") {
        Call("PUT", "/postern/v1/roles", RoleOf(holder.principal, role, scope), 204);
      }
      holder.token = Call("POST", "/postern/v1/tokens",
                          {{"principal", holder.principal}, {"lifetime", "1h"}}, 201)["secret"];
      clock_.Advance(absl::Seconds(1));
      holders.push_back(std::move(holder));
    };
    for (const char* role : kRoles) {
      for (size_t i = 0; i < std::size(kScopes); ++i) add(role, kScopes[i], i);
      for (const char* scope : kElsewhere) add(role, scope, std::size(kScopes));
    }
    add("nobody", "/", 0);
    return holders;
  }

  static bool May(const Holder& holder, const std::string& allowed, size_t narrowest) {
    return allowed.find(holder.letter) != std::string::npos && holder.scope <= narrowest;
  }

  HttpResponse Do(const Operation& operation, const std::string& token) {
    // They share one network, whose calls are limited.
    clock_.Advance(absl::Milliseconds(20));
    HttpRequest call{.method = operation.method,
                     .target = operation.target,
                     .headers = {{"authorization", absl::StrCat("Bearer ", token)}}};
    if (!operation.body.is_null()) {
      call.headers["content-type"] = "application/json";
      call.body = operation.body.dump();
    }
    return Send(call);
  }

  // All that an owner sees, but for the audit.
  Json Everything() {
    token_ = owner_;
    clock_.Advance(absl::Seconds(1));
    Json all;
    for (const char* target :
         {"policies", "vms", "requests?include_ended=true", "roles", "tokens", "join-tokens"}) {
      all[target] = Call("GET", absl::StrCat("/postern/v1/", target), nullptr, 200);
    }
    return all;
  }

  std::vector<AuditRow> AuditAfter(int64_t number) {
    const absl::StatusOr<std::vector<AuditRow>> rows =
        access_->ReadAudit({.principal = "owner"}, {.after = number}, 10'000);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *rows : std::vector<AuditRow>();
  }

  std::string owner_;
  std::string live_;
  std::string waiting_;
  std::string join_token_;
  std::string access_token_;
};

// Whoever may not is refused, on record, and nothing changes.
TEST_F(RolesTest, EachOperationIsRefusedToAllOthers) {
  const std::vector<Holder> holders = Holders();
  const Json before = Everything();
  for (const Operation& operation : Operations()) {
    const std::string name = absl::StrCat(operation.method, " ", operation.target);
    const int64_t last = AuditAfter(0).back().number;
    std::vector<std::string> refused;
    for (const Holder& holder : holders) {
      if (May(holder, operation.allowed, operation.scope)) continue;
      const HttpResponse answer = Do(operation, holder.token);
      EXPECT_EQ(answer.status, 403) << holder.principal << ": " << name << " " << answer.body;
      refused.push_back(holder.principal);
    }
    ASSERT_FALSE(refused.empty());
    const std::vector<AuditRow> rows = AuditAfter(last);
    ASSERT_THAT(rows, SizeIs(refused.size())) << name;
    EXPECT_THAT(rows, Each(Field(&AuditRow::status, "Denied"))) << name;
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].caller, refused[i]) << name;
    EXPECT_EQ(Everything(), before) << name;
  }
}

// Whoever may is answered: by each role on the narrowest scope that is enough, and on
// everything.
TEST_F(RolesTest, EachOperationIsForItsRoles) {
  for (size_t i = 0; i < Operations().size(); ++i) {
    for (const char* role : kRoles) {
      const Holder holder = {.principal = "user:one",
                             .letter = std::string(role) == "Security Admin" ? 'A' : role[0]};
      if (!May(holder, Operations()[i].allowed, kAll)) continue;
      for (const size_t scope : std::set<size_t>{kAll, Operations()[i].scope}) {
        // What one has done is not there for the next.
        SetUp();
        const Operation operation = Operations()[i];
        Call("PUT", "/postern/v1/roles", RoleOf(holder.principal, role, kScopes[scope]), 204);
        const Json token = Call("POST", "/postern/v1/tokens",
                                {{"principal", holder.principal}, {"lifetime", "1h"}}, 201);
        const HttpResponse answer = Do(operation, token["secret"]);
        EXPECT_EQ(answer.status, operation.status)
            << role << " on " << kScopes[scope] << ": " << operation.method << " "
            << operation.target << " " << answer.body;
      }
    }
  }
}

TEST_F(RolesTest, AListShowsWhatTheRoleAllows) {
  const std::vector<Holder> holders = Holders();
  for (const List& list : Lists()) {
    for (const Holder& holder : holders) {
      token_ = holder.token;
      clock_.Advance(absl::Milliseconds(20));
      const Json items = Call("GET", list.target, nullptr, 200)[list.name];
      EXPECT_EQ(!items.empty(), May(holder, list.allowed, kVm))
          << holder.principal << ": " << list.target << " " << items.dump();
    }
  }
}

// Of the subscriptions those that the caller has a role in; of the roles one's own, and
// those that an owner of their scope may take back.
TEST_F(RolesTest, SubscriptionsAndRolesAreShownAsFarAsTheyConcernTheCaller) {
  for (const Holder& holder : Holders()) {
    token_ = holder.token;
    clock_.Advance(absl::Milliseconds(20));
    const Json subscriptions =
        Call("GET", "/subscriptions?api-version=2019-11-01", nullptr, 200)["value"];
    EXPECT_EQ(subscriptions.empty(), holder.letter == 'n') << holder.principal;
    const Json roles = Call("GET", "/postern/v1/roles", nullptr, 200)["roles"];
    const bool sees_zoe = std::any_of(roles.begin(), roles.end(),
                                      [](const Json& one) { return one["principal"] == "zoe"; });
    EXPECT_EQ(sees_zoe, May(holder, "O", kVm)) << holder.principal;
    if (!May(holder, "O", kVm) && holder.letter != 'O') {
      EXPECT_EQ(roles.size(), holder.letter == 'n' ? 0U : 1U) << holder.principal;
    }
    EXPECT_EQ(Call("GET", "/postern/v1/me", nullptr, 200)["principal"], holder.principal);
  }
}

// What has no row in the tables above has nobody to say for whom it is.
TEST_F(RolesTest, NoOperationIsLeftOut) {
  std::vector<std::pair<std::string, std::string>> tried = {
      {"GET", "/subscriptions"}, {"GET", "/postern/v1/roles"}, {"GET", "/postern/v1/me"}};
  for (const Operation& operation : Operations()) {
    tried.emplace_back(operation.method, operation.target);
  }
  for (const List& list : Lists()) tried.emplace_back("GET", list.target);
  for (const std::vector<Route>* routes : {&AzureRoutes(), &PosternRoutes()}) {
    for (const Route& route : *routes) {
      EXPECT_TRUE(
          std::any_of(tried.begin(), tried.end(),
                      [&](const auto& one) {
                        return one.first == route.method &&
                               Match(route.pattern, ParseTarget(one.second)->segments).has_value();
                      }))
          << route.method << " " << route.pattern;
    }
  }
}

}  // namespace
}  // namespace postern::controller
