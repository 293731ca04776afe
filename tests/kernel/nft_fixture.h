// A firewall in a network namespace of its own, and short ways to use it.

#ifndef POSTERN_TESTS_KERNEL_NFT_FIXTURE_H_
#define POSTERN_TESTS_KERNEL_NFT_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "agent/firewall/nft/timeout.h"
#include "agent/firewall/ruleset.h"
#include "common/clock.h"
#include "tests/kernel/namespace.h"
#include "tests/support/grants.h"

namespace postern {

inline const SetId kKeep32 = {Family::kIpv4, 32, Admission::kKeep};
inline const SetId kKeep24 = {Family::kIpv4, 24, Admission::kKeep};
inline const SetId kCut64 = {Family::kIpv6, 64, Admission::kCut};
inline const AccessKey kAlice = Key("203.0.113.7", 22);
inline const AccessKey kBob = Key("203.0.113.8", 22);

inline BootTime BootNow() { return SystemClock().Read().boot; }
inline BootTime In(absl::Duration duration) { return BootNow() + duration; }

inline absl::Duration Tick() { return absl::Seconds(1) / nft::ReadTimeoutClock().ticks_per_second; }

// A namespace with a firewall, in which the test's own thread never is.
class NftFirewallTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Namespace>> made = Namespace::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    network_ = *std::move(made);
    Open(std::nullopt);
  }

  // Opens the firewall as one of a kernel that can only do this.
  void Open(const std::optional<nft::Capabilities>& kernel) {
    network_->Run([&] {
      auto opened = kernel.has_value() ? NftFirewall::Open(*kernel) : NftFirewall::Open();
      ASSERT_TRUE(opened.ok()) << opened.status();
      firewall_ = *std::move(opened);
    });
    ASSERT_NE(firewall_, nullptr);
  }

  void Commit(const Transaction& transaction) {
    EXPECT_EQ(firewall_->Commit(transaction), absl::OkStatus());
  }

  void Put(const AccessKey& key, absl::Duration duration) {
    Commit({PutElement{SetOf(key, Admission::kKeep), key, In(duration)}});
  }
  void Remove(const AccessKey& key) { Commit({RemoveElement{SetOf(key, Admission::kKeep), key}}); }

  std::vector<AccessKey> KeysIn(const SetId& set) {
    const auto elements = firewall_->ReadElements(set);
    EXPECT_TRUE(elements.ok()) << elements.status();
    std::vector<AccessKey> keys;
    if (elements.ok()) {
      for (const InstalledElement& element : *elements) keys.push_back(element.key);
    }
    return keys;
  }

  std::optional<InstalledElement> Read(const AccessKey& key) {
    const auto element = firewall_->ReadElement(SetOf(key, Admission::kKeep), key);
    EXPECT_TRUE(element.ok()) << element.status();
    return element.ok() ? *element : std::nullopt;
  }

  // The element is there and ends about then.
  void ExpectRemaining(const AccessKey& key, absl::Duration remaining) {
    const std::optional<InstalledElement> element = Read(key);
    ASSERT_TRUE(element.has_value()) << key.ToString();
    EXPECT_LE(element->remaining, remaining + 3 * Tick());
    EXPECT_GE(element->remaining, remaining - absl::Seconds(10));
  }

  uint64_t Packets(const char* counter) {
    const auto value = firewall_->ReadCounter(counter);
    EXPECT_TRUE(value.ok()) << value.status();
    return value.ok() ? value->packets : 0;
  }

  std::unique_ptr<Namespace> network_;
  std::unique_ptr<NftFirewall> firewall_;
};

}  // namespace postern

#endif  // POSTERN_TESTS_KERNEL_NFT_FIXTURE_H_
