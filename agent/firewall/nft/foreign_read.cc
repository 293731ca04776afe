#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/foreign.h"
#include "agent/firewall/nft/foreign_attributes.h"
#include "agent/firewall/nft/foreign_rule.h"
#include "agent/firewall/nft/socket.h"
#include "common/status.h"

namespace postern::nft {
namespace {

using TableKey = std::pair<uint8_t, std::string>;
// A chain or a set of a table.
using ObjectKey = std::tuple<uint8_t, std::string, std::string>;

// A request for all objects of a kind, in every family unless one is named.
class DumpRequest {
 public:
  explicit DumpRequest(uint16_t type, uint8_t family = NFPROTO_UNSPEC) {
    nlmsghdr* header = mnl_nlmsg_put_header(bytes_.data());
    header->nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    auto* extra = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
    extra->nfgen_family = family;
    extra->version = NFNETLINK_V0;
  }
  void PutText(uint16_t type, const std::string& text) {
    mnl_attr_put_strz_check(message(), bytes_.size(), type, text.c_str());
  }
  nlmsghdr* message() { return static_cast<nlmsghdr*>(static_cast<void*>(bytes_.data())); }

 private:
  alignas(nlmsghdr) std::array<char, 1024> bytes_ = {};
};

uint8_t FamilyOf(const nlmsghdr& message) {
  return static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(&message))->nfgen_family;
}

// What a set's keys and values are, and its elements once they are read.
struct SetShape {
  uint32_t flags = 0;
  uint32_t key_length = 0;
  // Set when a rule looks a field up in it that something can be told from.
  Field field = Field::kOther;
  // Its values are verdicts.
  bool decides = false;
  ForeignSet set = {};
};

class Reader {
 public:
  explicit Reader(Socket& socket) : socket_(socket) {}

  absl::StatusOr<ForeignRuleset> Read() {
    POSTERN_RETURN_IF_ERROR(ReadTables());
    POSTERN_RETURN_IF_ERROR(ReadChains());
    POSTERN_RETURN_IF_ERROR(ReadRules());
    POSTERN_RETURN_IF_ERROR(ReadSets());
    return Assemble();
  }

 private:
  absl::Status Dump(DumpRequest request, uint16_t answer, const std::string& what,
                    absl::FunctionRef<void()> restart,
                    absl::FunctionRef<void(uint8_t, const Fields&)> take) {
    const absl::StatusOr<int> error =
        socket_.Read(request.message(), restart, [&](const nlmsghdr& message) {
          if (NFNL_SUBSYS_ID(message.nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
              NFNL_MSG_TYPE(message.nlmsg_type) != answer ||
              mnl_nlmsg_get_payload_len(&message) < sizeof(nfgenmsg)) {
            return;
          }
          take(FamilyOf(message), Fields::Of(message));
        });
    POSTERN_RETURN_IF_ERROR(Annotate(error.status(), absl::StrCat("read ", what)));
    return *error == 0 ? absl::OkStatus() : KernelStatus(*error, absl::StrCat("read ", what));
  }

  // False, and the ruleset cut short, when `count` has come to `most`.
  bool Room(size_t count, size_t most) {
    if (count < most) return true;
    cut_short_ = true;
    return false;
  }

  absl::Status ReadTables() {
    return Dump(
        DumpRequest(NFT_MSG_GETTABLE), NFT_MSG_NEWTABLE, "the tables", [this] { tables_.clear(); },
        [this](uint8_t family, const Fields& fields) {
          if (!Room(tables_.size(), kMaxForeignTables)) return;
          ForeignTable table{.family = family, .name = fields.Text(NFTA_TABLE_NAME)};
          table.dormant = (fields.Number32(NFTA_TABLE_FLAGS) & NFT_TABLE_F_DORMANT) != 0;
          tables_.emplace(TableKey(family, table.name), std::move(table));
        });
  }

  absl::Status ReadChains() {
    return Dump(
        DumpRequest(NFT_MSG_GETCHAIN), NFT_MSG_NEWCHAIN, "the chains", [this] { chains_.clear(); },
        [this](uint8_t family, const Fields& fields) {
          if (!Room(chains_.size(), kMaxForeignChains)) return;
          ForeignChain chain{.name = fields.Text(NFTA_CHAIN_NAME)};
          if (fields.Has(NFTA_CHAIN_HOOK)) {
            const Fields hook = Fields::In(fields.at(NFTA_CHAIN_HOOK));
            chain.hook = {.number = hook.Number32(NFTA_HOOK_HOOKNUM),
                          .priority = static_cast<int32_t>(hook.Number32(NFTA_HOOK_PRIORITY)),
                          .type = fields.Text(NFTA_CHAIN_TYPE)};
            chain.drops_by_default =
                fields.Has(NFTA_CHAIN_POLICY) && fields.Number32(NFTA_CHAIN_POLICY) == NF_DROP;
          }
          ObjectKey key(family, fields.Text(NFTA_CHAIN_TABLE), chain.name);
          chains_.emplace(std::move(key), std::move(chain));
        });
  }

  absl::Status ReadRules() {
    size_t count = 0;
    return Dump(
        DumpRequest(NFT_MSG_GETRULE), NFT_MSG_NEWRULE, "the rules",
        [&] {
          count = 0;
          for (auto& [key, chain] : chains_) chain.rules.clear();
        },
        [&](uint8_t family, const Fields& fields) {
          if (!Room(count, kMaxForeignRules)) return;
          const auto chain =
              chains_.find({family, fields.Text(NFTA_RULE_TABLE), fields.Text(NFTA_RULE_CHAIN)});
          if (chain == chains_.end()) return;
          ForeignRule rule = ParseRuleExpressions(fields.at(NFTA_RULE_EXPRESSIONS));
          rule.handle = fields.Number64(NFTA_RULE_HANDLE);
          chain->second.rules.push_back(std::move(rule));
          ++count;
        });
  }

  // The sets that rules look up a field in that something can be told from.
  absl::Status ReadSets() {
    POSTERN_RETURN_IF_ERROR(Dump(
        DumpRequest(NFT_MSG_GETSET), NFT_MSG_NEWSET, "the sets", [this] { sets_.clear(); },
        [this](uint8_t family, const Fields& fields) {
          if (!Room(sets_.size(), kMaxForeignChains)) return;
          SetShape shape{.flags = fields.Number32(NFTA_SET_FLAGS),
                         .key_length = fields.Number32(NFTA_SET_KEY_LEN)};
          shape.decides = (shape.flags & NFT_SET_MAP) != 0 &&
                          fields.Number32(NFTA_SET_DATA_TYPE) == NFT_DATA_VERDICT;
          shape.set.name = fields.Text(NFTA_SET_NAME);
          ObjectKey key(family, fields.Text(NFTA_SET_TABLE), shape.set.name);
          sets_.emplace(std::move(key), std::move(shape));
        }));
    for (const auto& [key, chain] : chains_) {
      const auto& [family, table, name] = key;
      for (const ForeignRule& rule : chain.rules) {
        for (const Condition& condition : rule.conditions) {
          if (!condition.set.empty()) Want({family, table, condition.set}, condition.field);
        }
        if (!rule.map.empty()) Want({family, table, rule.map}, rule.map_field);
      }
    }
    for (auto& [key, shape] : sets_) {
      if (shape.field != Field::kOther || shape.decides) {
        POSTERN_RETURN_IF_ERROR(ReadElements(key, shape));
      }
    }
    return absl::OkStatus();
  }

  void Want(const ObjectKey& key, Field field) {
    const auto found = sets_.find(key);
    if (found == sets_.end() || field == Field::kOther) return;
    // A longer key is several fields.
    if (found->second.key_length == SizeOf(field)) found->second.field = field;
  }

  absl::Status ReadElements(const ObjectKey& key, SetShape& shape) {
    const auto& [family, table, name] = key;
    DumpRequest request(NFT_MSG_GETSETELEM, family);
    request.PutText(NFTA_SET_ELEM_LIST_TABLE, table);
    request.PutText(NFTA_SET_ELEM_LIST_SET, name);
    std::vector<Boundary> boundaries;
    bool all = true;
    const absl::Status read = Dump(
        request, NFT_MSG_NEWSETELEM, "a set",
        [&] {
          boundaries.clear();
          all = true;
        },
        [&](uint8_t /*family*/, const Fields& fields) {
          const nlattr* list = fields.at(NFTA_SET_ELEM_LIST_ELEMENTS);
          if (list == nullptr) return;
          ForEachNested(*list, [&](const nlattr& element) {
            all = all && Room(elements_ + boundaries.size(), kMaxForeignElements);
            if (all) boundaries.push_back(ParseElement(element, shape.field));
          });
        });
    // It may have gone meanwhile: nothing is told from it then.
    if (!read.ok() || !all) return absl::OkStatus();
    elements_ += boundaries.size();
    shape.set.known = true;
    shape.set.elements = Elements(boundaries, (shape.flags & NFT_SET_INTERVAL) != 0);
    return absl::OkStatus();
  }

  // An element as the kernel has it; in a set of intervals one that begins or ends
  // an interval.
  struct Boundary {
    std::optional<uint32_t> value = std::nullopt;
    bool ends_interval = false;
    bool everything = false;
    Decision decision = {};
  };

  static Boundary ParseElement(const nlattr& element, Field field) {
    const Fields fields = Fields::In(&element);
    const uint32_t flags = fields.Number32(NFTA_SET_ELEM_FLAGS);
    const Bytes key = Fields::In(fields.at(NFTA_SET_ELEM_KEY)).Data(NFTA_DATA_VALUE);
    return {
        .value = ValueIn(field, key),
        .ends_interval = (flags & NFT_SET_ELEM_INTERVAL_END) != 0,
        .everything = (flags & NFT_SET_ELEM_CATCHALL) != 0,
        .decision = ParseDecision(Fields::In(fields.at(NFTA_SET_ELEM_DATA)).at(NFTA_DATA_VERDICT))};
  }

  static std::vector<ForeignElement> Elements(std::vector<Boundary>& boundaries, bool intervals) {
    std::vector<ForeignElement> elements;
    if (!intervals) {
      // What holds for all others comes after them.
      std::stable_partition(boundaries.begin(), boundaries.end(),
                            [](const Boundary& b) { return !b.everything; });
      for (const Boundary& b : boundaries) {
        // Of a field that nothing is known about any value may be the one.
        const Range range = b.value.has_value() ? Range{*b.value, *b.value} : Range{};
        elements.push_back({.range = range, .decision = b.decision});
      }
      return elements;
    }
    // Where one interval ends as the next begins, the end comes first.
    std::stable_sort(boundaries.begin(), boundaries.end(),
                     [](const Boundary& a, const Boundary& b) {
                       return std::pair(a.value.value_or(0), !a.ends_interval) <
                              std::pair(b.value.value_or(0), !b.ends_interval);
                     });
    for (size_t i = 0; i < boundaries.size(); ++i) {
      const Boundary& begin = boundaries[i];
      if (begin.ends_interval) continue;
      Range range;
      if (begin.value.has_value() && !begin.everything) {
        range.low = *begin.value;
        // The end is the first value that is outside.
        if (i + 1 < boundaries.size() && boundaries[i + 1].value.value_or(0) > range.low) {
          range.high = *boundaries[i + 1].value - 1;
        }
      }
      elements.push_back({.range = range, .decision = begin.decision});
    }
    return elements;
  }

  ForeignRuleset Assemble() {
    for (auto& [key, chain] : chains_) {
      const auto table = tables_.find({std::get<0>(key), std::get<1>(key)});
      if (table != tables_.end()) table->second.chains.push_back(std::move(chain));
    }
    for (auto& [key, shape] : sets_) {
      const auto table = tables_.find({std::get<0>(key), std::get<1>(key)});
      if (table != tables_.end()) table->second.sets.push_back(std::move(shape.set));
    }
    ForeignRuleset ruleset{.cut_short = cut_short_};
    for (auto& [key, table] : tables_) ruleset.tables.push_back(std::move(table));
    return ruleset;
  }

  using Bytes = absl::Span<const uint8_t>;

  Socket& socket_;
  std::map<TableKey, ForeignTable> tables_;
  std::map<ObjectKey, ForeignChain> chains_;
  std::map<ObjectKey, SetShape> sets_;
  size_t elements_ = 0;
  bool cut_short_ = false;
};

}  // namespace

absl::StatusOr<ForeignRuleset> ReadForeignRuleset(Socket& socket) { return Reader(socket).Read(); }

}  // namespace postern::nft
