#include "controller/domain/role.h"

#include <gtest/gtest.h>

#include <vector>

namespace postern::controller {
namespace {

struct Row {
  Action action;
  // Owner, Security Admin, JIT Requester, Security Reader, Reader.
  std::vector<bool> held;
};

TEST(RoleTest, EachHoldsItsActionsAndNoOther) {
  const std::vector<BuiltInRole> roles = {BuiltInRole::kOwner, BuiltInRole::kSecurityAdmin,
                                          BuiltInRole::kJitRequester, BuiltInRole::kSecurityReader,
                                          BuiltInRole::kReader};
  const std::vector<Row> table = {
      {Action::kReadPolicy, {true, true, true, true, true}},
      {Action::kWritePolicy, {true, true, false, false, false}},
      {Action::kDeletePolicy, {true, true, false, false, false}},
      {Action::kInitiate, {true, false, true, false, false}},
      {Action::kEndOthers, {true, true, false, false, false}},
      {Action::kReadVm, {true, true, true, true, true}},
      {Action::kManageVm, {true, true, false, false, false}},
      {Action::kReadAudit, {true, true, false, true, false}},
      {Action::kManageRoles, {true, false, false, false, false}},
  };
  for (const Row& row : table) {
    for (size_t i = 0; i < roles.size(); ++i) {
      EXPECT_EQ(Holds(roles[i], row.action), row.held[i])
          << RoleName(roles[i]) << " " << ActionName(row.action);
    }
  }
}

TEST(RoleTest, HoldsOnItsScopeAlone) {
  const Scope group = {.subscription = "s", .resource_group = "web"};
  const std::vector<RoleAssignment> roles = {
      {.principal = "ana", .role = BuiltInRole::kJitRequester, .scope = group}};
  EXPECT_TRUE(Allowed(roles, Action::kInitiate,
                      {.subscription = "s", .resource_group = "WEB", .vm = "web-1"}));
  EXPECT_FALSE(Allowed(roles, Action::kInitiate, {.subscription = "s"}));
  EXPECT_FALSE(Allowed(roles, Action::kInitiate,
                       {.subscription = "s", .resource_group = "db", .vm = "web-1"}));
  EXPECT_FALSE(Allowed(roles, Action::kWritePolicy, group));
  EXPECT_FALSE(Allowed({}, Action::kReadPolicy, group));
}

TEST(RoleTest, NamesAreReadInAnyForm) {
  for (const char* name : {"JIT Requester", "jit-requester", "JITREQUESTER"}) {
    EXPECT_EQ(*ParseRole(name), BuiltInRole::kJitRequester) << name;
  }
  EXPECT_FALSE(ParseRole("Contributor").ok());
  EXPECT_FALSE(ParseRole("").ok());
}

}  // namespace
}  // namespace postern::controller
