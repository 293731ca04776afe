// From the kernel's rules, which are little programs over registers, to what
// they look at and do. Pure.

#ifndef POSTERN_AGENT_FIREWALL_NFT_FOREIGN_RULE_H_
#define POSTERN_AGENT_FIREWALL_NFT_FOREIGN_RULE_H_

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "agent/firewall/nft/foreign.h"

namespace postern::nft {

// How many bytes the kernel compares of a field; 0 for kOther.
size_t SizeOf(Field field);

// The field's value in the bytes of a comparison or of a set's key (which may be
// padded); empty when they are too few, or the field is kOther.
std::optional<uint32_t> ValueIn(Field field, absl::Span<const uint8_t> bytes);

// The rule of a NEWRULE message's NFTA_RULE_EXPRESSIONS. What is not understood
// is a condition on kOther.
ForeignRule ParseRuleExpressions(const nlattr* expressions);

// A verdict in NFTA_DATA_VERDICT.
Decision ParseDecision(const nlattr* verdict);

// What iptables-nft leaves to xtables: adds the conditions of a match, or the
// effects and the decision of a target, by its name and its binary form.
void AddXtablesMatch(absl::string_view name, absl::Span<const uint8_t> info, ForeignRule& rule);
void AddXtablesTarget(absl::string_view name, uint32_t revision, absl::Span<const uint8_t> info,
                      ForeignRule& rule);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_FOREIGN_RULE_H_
