#include "controller/domain/resource_id.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;

constexpr char kVm[] =
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Web/providers/"
    "Microsoft.Compute/virtualMachines/web-1";

TEST(VmIdTest, IsReadAndWrittenAsAzureDoes) {
  const absl::StatusOr<VmId> vm = VmId::Parse(kVm);
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->resource_group, "Web");
  EXPECT_EQ(vm->name, "web-1");
  EXPECT_EQ(vm->ToString(), kVm);
}

TEST(VmIdTest, MeansTheSameInAnyCase) {
  const absl::StatusOr<VmId> vm = VmId::Parse(absl::AsciiStrToUpper(kVm));
  ASSERT_TRUE(vm.ok()) << vm.status();
  EXPECT_EQ(vm->Key(), VmId::Parse(kVm)->Key());
  EXPECT_EQ(vm->subscription, "11111111-2222-3333-4444-555555555555");
}

TEST(VmIdTest, RefusesWhatIsNoVirtualMachine) {
  for (const std::string& text :
       {std::string(""), std::string("web-1"), std::string(kVm).substr(1), absl::StrCat(kVm, "/"),
        absl::StrCat(kVm, "/extensions/x"),
        std::string("/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/"
                    "virtualMachines/web-1"),
        std::string("/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/"
                    "providers/Microsoft.Compute/virtualMachines/a b"),
        std::string("/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/"
                    "providers/Microsoft.Compute/disks/a"),
        std::string("/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/g/"
                    "providers/Microsoft.Compute/virtualMachines/a\n"),
        absl::StrCat(kVm, std::string(1000, 'a'))}) {
    EXPECT_EQ(VmId::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(VmIdTest, NamesAnIdWithoutItsControlCharacters) {
  EXPECT_THAT(std::string(VmId::Parse("/\x1b[2J").status().message()), HasSubstr("\\x1b"));
}

TEST(ScopeTest, HoldsWhatIsInIt) {
  const Scope vm = Scope::Of(*VmId::Parse(kVm));
  for (const char* wider : {"/", "/subscriptions/11111111-2222-3333-4444-555555555555",
                            "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/"
                            "WEB",
                            kVm}) {
    const absl::StatusOr<Scope> scope = Scope::Parse(wider);
    ASSERT_TRUE(scope.ok()) << scope.status();
    EXPECT_TRUE(scope->Contains(vm)) << wider;
    EXPECT_EQ(vm.Contains(*scope), absl::string_view(wider) == kVm) << wider;
  }
}

TEST(ScopeTest, HoldsNothingBesideIt) {
  const Scope vm = Scope::Of(*VmId::Parse(kVm));
  for (const char* other :
       {"/subscriptions/00000000-2222-3333-4444-555555555555",
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/We",
        "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Web/providers/"
        "Microsoft.Compute/virtualMachines/web-10"}) {
    EXPECT_FALSE(Scope::Parse(other)->Contains(vm)) << other;
  }
}

TEST(ScopeTest, RefusesWhatIsNoScope) {
  for (const char* text : {"", "//", "/subscriptions", "/subscriptions/x",
                           "/subscriptions/11111111-2222-3333-4444-555555555555/",
                           "/subscriptions/11111111-2222-3333-4444-555555555555/groups/x"}) {
    EXPECT_FALSE(Scope::Parse(text).ok()) << text;
  }
}

}  // namespace
}  // namespace postern::controller
