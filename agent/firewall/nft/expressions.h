// Expressions of the ruleset as libnftnl's.

#ifndef POSTERN_AGENT_FIREWALL_NFT_EXPRESSIONS_H_
#define POSTERN_AGENT_FIREWALL_NFT_EXPRESSIONS_H_

#include <cstddef>

#include "agent/firewall/nft/capabilities.h"
#include "agent/firewall/nft/nftnl_ptr.h"
#include "agent/firewall/ruleset.h"

namespace postern::nft {

// The kernel's expression of this name ("counter"), with nothing set.
ExpressionPtr NewExpression(const char* name);

// Adds what `expression` is in the kernel's terms to `rule`: one of its
// expressions, or two. It must fit.
void AppendExpression(const Expression& expression, nftnl_rule* rule);

// Whether its names and values are short enough for the kernel (and for libnftnl,
// which does not check).
bool Fits(const Expression& expression);

// How many of the kernel's expressions AppendExpression adds; 0 for one that this
// kernel has not, and that a rule can do without.
size_t KernelExpressions(const Expression& expression, const Capabilities& capabilities);

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_EXPRESSIONS_H_
