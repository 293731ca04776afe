// Ownership of libnftnl's objects.

#ifndef POSTERN_AGENT_FIREWALL_NFT_NFTNL_PTR_H_
#define POSTERN_AGENT_FIREWALL_NFT_NFTNL_PTR_H_

#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

#include <cstdlib>
#include <memory>

namespace postern::nft {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

using TablePtr = std::unique_ptr<nftnl_table, FreeWith<nftnl_table_free>>;
using ChainPtr = std::unique_ptr<nftnl_chain, FreeWith<nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, FreeWith<nftnl_rule_free>>;
using SetPtr = std::unique_ptr<nftnl_set, FreeWith<nftnl_set_free>>;
using ObjectPtr = std::unique_ptr<nftnl_obj, FreeWith<nftnl_obj_free>>;
using ExpressionPtr = std::unique_ptr<nftnl_expr, FreeWith<nftnl_expr_free>>;

// Takes what an allocating function of libnftnl returned. Running out of memory
// ends the process, as it does for `new`.
template <typename Pointer>
Pointer Own(typename Pointer::pointer allocated) {
  if (allocated == nullptr) std::abort();
  return Pointer(allocated);
}

}  // namespace postern::nft

#endif  // POSTERN_AGENT_FIREWALL_NFT_NFTNL_PTR_H_
