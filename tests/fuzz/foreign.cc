// The rulesets of other programs, from the kernel's dumps to what the doctor says
// of them. The input is a datagram that answers every request; each takes out of
// it what it asked for.

#include "agent/firewall/nft/foreign.h"

#include <linux/in.h>
#include <linux/netfilter.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/doctor/diagnose.h"
#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/socket.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guarded.h"

namespace postern {
namespace {

// The input.
const uint8_t* dump = nullptr;
size_t dump_size = 0;

}  // namespace

// In the place of the real one, which the linker then leaves out.
namespace nft {

absl::Status KernelStatus(int /*error_number*/, absl::string_view context) {
  return absl::UnavailableError(context);
}

Socket::Socket(mnl_socket* socket) : socket_(socket) {}
void Socket::CloseSocket::operator()(mnl_socket* /*socket*/) const {}

absl::StatusOr<std::unique_ptr<Socket>> Socket::Open() {
  return std::unique_ptr<Socket>(new Socket(nullptr));
}

absl::StatusOr<int> Socket::Read(nlmsghdr* /*request*/, absl::FunctionRef<void()> restart,
                                 absl::FunctionRef<void(const nlmsghdr&)> take) {
  restart();
  ForEachMessage(dump, dump_size, IsWhole, take);
  return 0;
}

}  // namespace nft

namespace {

// A rule has at most 128 expressions, and an expression of one of the old
// extensions says up to four things.
constexpr size_t kMostOfRule = 512;
// Names in it may be 255 bytes long, each shown as four; several are named.
constexpr size_t kMostText = 16'384;

void CheckChain(const nft::ForeignChain& chain) {
  FUZZ_CHECK(chain.hook.has_value() || !chain.drops_by_default);
  for (const nft::ForeignRule& rule : chain.rules) {
    FUZZ_CHECK(rule.conditions.size() + rule.effects.size() <= kMostOfRule);
    const bool jumps = rule.decision.verdict == nft::Verdict::kJump ||
                       rule.decision.verdict == nft::Verdict::kGoto;
    FUZZ_CHECK(jumps || rule.decision.chain.empty());
  }
}

void CheckRuleset(const nft::ForeignRuleset& ruleset) {
  size_t rules = 0;
  size_t elements = 0;
  std::set<std::pair<uint8_t, std::string>> names;
  FUZZ_CHECK(ruleset.tables.size() <= nft::kMaxForeignTables);
  for (const nft::ForeignTable& table : ruleset.tables) {
    FUZZ_CHECK(names.emplace(table.family, table.name).second);
    for (const nft::ForeignChain& chain : table.chains) {
      CheckChain(chain);
      rules += chain.rules.size();
    }
    for (const nft::ForeignSet& set : table.sets) {
      FUZZ_CHECK(set.known || set.elements.empty());
      for (const nft::ForeignElement& element : set.elements) {
        FUZZ_CHECK(element.range.low <= element.range.high);
      }
      elements += set.elements.size();
    }
  }
  FUZZ_CHECK(rules <= nft::kMaxForeignRules);
  FUZZ_CHECK(elements <= nft::kMaxForeignElements);
}

void CheckFindings(nft::ForeignRuleset ruleset) {
  HostFacts facts;
  facts.ruleset = std::move(ruleset);
  facts.listeners = {{.port = 22}};
  facts.tracked = 10;
  facts.tracked_at_most = 65'536;
  const Guard guard{.enforce = true, .ports = {22, 3389}};
  const std::vector<Finding> findings = Diagnose(facts, guard);
  FUZZ_CHECK(findings == Diagnose(facts, guard));
  Severity before = Severity::kCritical;
  for (const Finding& finding : findings) {
    FUZZ_CHECK(finding.severity <= before);
    before = finding.severity;
    FUZZ_CHECK(IsGoodMessage(finding.name, 64));
    FUZZ_CHECK(IsGoodMessage(finding.finding, kMostText));
    FUZZ_CHECK(IsGoodMessage(finding.consequence, kMostText));
    FUZZ_CHECK(IsGoodMessage(finding.remedy, kMostText));
  }
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::dump = data;
  postern::dump_size = size;
  const auto socket = postern::nft::Socket::Open();
  absl::StatusOr<postern::nft::ForeignRuleset> ruleset = postern::nft::ReadForeignRuleset(**socket);
  FUZZ_CHECK(ruleset.ok());
  postern::CheckRuleset(*ruleset);
  postern::CheckFindings(*std::move(ruleset));
  return 0;
}
