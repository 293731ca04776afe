#include "tests/fakes/fake_firewall.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/firewall/builder.h"
#include "common/status.h"

namespace postern {
namespace {

absl::Status Refuse(absl::string_view why) { return absl::UnavailableError(why); }

// Applies operations one by one, with the kernel's refusals.
class Applier {
 public:
  Applier(std::optional<FakeTable>& table, BootTime now) : table_(table), now_(now) {}

  absl::Status operator()(const ReplaceTable&) {
    table_.emplace();
    return absl::OkStatus();
  }
  absl::Status operator()(const AddChain& o) {
    if (!table_) return Refuse("no table");
    table_->chains.insert(o.name);
    return absl::OkStatus();
  }
  absl::Status operator()(const FlushChain& o) {
    if (!table_ || !table_->chains.contains(o.name)) return Refuse("no such chain");
    std::erase_if(table_->rules, [&](const Rule& rule) { return rule.chain == o.name; });
    return absl::OkStatus();
  }
  absl::Status operator()(const AddRule& o) {
    if (!table_ || !table_->chains.contains(o.rule.chain)) return Refuse("no such chain");
    for (const Expression& expression : o.rule.expressions) {
      POSTERN_RETURN_IF_ERROR(CheckReferences(expression));
    }
    table_->rules.push_back(o.rule);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddCounter& o) {
    if (!table_) return Refuse("no table");
    table_->counters.try_emplace(o.name);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddSet& o) {
    if (!table_) return Refuse("no table");
    table_->sets.try_emplace(o.id);
    return absl::OkStatus();
  }
  absl::Status operator()(const DeleteSet& o) {
    if (!table_ || !table_->sets.contains(o.id)) return Refuse("no such set");
    for (const Rule& rule : table_->rules) {
      for (const Expression& expression : rule.expressions) {
        const auto* lookup = std::get_if<Lookup>(&expression);
        if (lookup != nullptr && lookup->set == o.id.Name()) return Refuse("a rule uses the set");
      }
    }
    table_->sets.erase(o.id);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddConstantSet& o) {
    if (!table_) return Refuse("no table");
    table_->constant_sets.insert_or_assign(o.name, o.elements);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddTimedSet& o) {
    if (!table_) return Refuse("no table");
    table_->timed_sets.insert_or_assign(o.name, o.end);
    return absl::OkStatus();
  }
  absl::Status operator()(const AddDeniedSet& o) {
    if (!table_) return Refuse("no table");
    table_->denied_sets.insert_or_assign(DeniedSetName(o.family, o.enforce), o.elements);
    return absl::OkStatus();
  }
  absl::Status operator()(const PutElement& o) {
    if (!table_ || !table_->sets.contains(o.set)) return Refuse("no such set");
    if (SetOf(o.key, o.set.admission) != o.set) return Refuse("the key is not of the set's type");
    if (o.end > now_) table_->sets[o.set][o.key].end = o.end;
    return absl::OkStatus();
  }
  absl::Status operator()(const RemoveElement& o) {
    if (!table_ || !table_->sets.contains(o.set)) return Refuse("no such set");
    table_->sets[o.set].erase(o.key);
    return absl::OkStatus();
  }

 private:
  absl::Status CheckReferences(const Expression& expression) const {
    if (const auto* lookup = std::get_if<Lookup>(&expression)) {
      const bool granted =
          std::any_of(table_->sets.begin(), table_->sets.end(),
                      [&](const auto& entry) { return entry.first.Name() == lookup->set; });
      if (!granted && !table_->constant_sets.contains(lookup->set) &&
          !table_->denied_sets.contains(lookup->set) && !table_->timed_sets.contains(lookup->set)) {
        return Refuse(absl::StrCat("no set ", lookup->set));
      }
    } else if (const auto* update = std::get_if<UpdateSet>(&expression)) {
      if (!table_->denied_sets.contains(update->set)) return Refuse("no set to update");
    } else if (const auto* count = std::get_if<Count>(&expression)) {
      if (!table_->counters.contains(count->counter)) return Refuse("no such counter");
    } else if (const auto* jump = std::get_if<Jump>(&expression)) {
      if (!table_->chains.contains(jump->chain)) return Refuse("jump to no chain");
    } else if (const auto* to = std::get_if<Goto>(&expression)) {
      if (!table_->chains.contains(to->chain)) return Refuse("goto to no chain");
    }
    return absl::OkStatus();
  }

  std::optional<FakeTable>& table_;
  BootTime now_;
};

// The inverse of FlowKey.
Flow FlowOf(const Bytes& key) {
  const Family family = key.size() == 16 ? Family::kIpv4 : Family::kIpv6;
  const size_t width = static_cast<size_t>(AddressBits(family) / 8);
  const auto address = [&](size_t at) {
    Address read{.family = family};
    std::copy_n(key.begin() + static_cast<ptrdiff_t>(at), width, read.bytes.begin());
    return read;
  };
  const auto port = [&](size_t at) { return static_cast<uint16_t>(key[at] << 8 | key[at + 1]); };
  return Flow{.remote = address(0),
              .remote_port = port(width),
              .local = address(width + 4),
              .local_port = port(2 * width + 4)};
}

}  // namespace

absl::Status FakeFirewall::Commit(const Transaction& transaction) {
  if (!commit_failure_.ok()) return commit_failure_;
  std::optional<FakeTable> next = table_;
  Applier apply(next, clock_.Read().boot);
  for (const Operation& operation : transaction) {
    const auto* put = std::get_if<PutElement>(&operation);
    if (put != nullptr && refused_ == put->key.source.address) {
      return Refuse(absl::StrCat(Describe(operation), ": refused"));
    }
    POSTERN_RETURN_IF_ERROR(Annotate(std::visit(apply, operation), Describe(operation)));
  }
  table_ = std::move(next);
  ++commits_;
  if (lose_next_ack_) {
    lose_next_ack_ = false;
    return Refuse("no acknowledgement from the kernel");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SetId>> FakeFirewall::ReadSets() {
  std::vector<SetId> ids;
  if (!table_) return ids;
  for (const auto& [id, elements] : table_->sets) ids.push_back(id);
  return ids;
}

InstalledElement FakeFirewall::Read(const AccessKey& key, const FakeElement& element) const {
  const BootTime now = clock_.Read().boot;
  InstalledElement installed;
  installed.key = key;
  installed.remaining = element.end - now;
  installed.counter = element.counter;
  return installed;
}

absl::StatusOr<std::vector<InstalledElement>> FakeFirewall::ReadElements(const SetId& set) {
  if (!table_ || !table_->sets.contains(set)) return absl::NotFoundError(set.Name());
  std::vector<InstalledElement> elements;
  for (const auto& [key, element] : table_->sets[set]) {
    if (element.end > clock_.Read().boot) elements.push_back(Read(key, element));
  }
  return elements;
}

absl::StatusOr<std::optional<InstalledElement>> FakeFirewall::ReadElement(const SetId& set,
                                                                          const AccessKey& key) {
  if (!table_ || !table_->sets.contains(set)) return std::nullopt;
  const auto it = table_->sets[set].find(key);
  if (it == table_->sets[set].end() || it->second.end <= clock_.Read().boot) return std::nullopt;
  return Read(key, it->second);
}

absl::StatusOr<std::vector<Flow>> FakeFirewall::ReadOlderFlows() {
  std::vector<Flow> flows;
  if (!table_) return flows;
  for (const char* name : {kOlderIpv4Set, kOlderIpv6Set}) {
    for (const Bytes& key : table_->constant_sets[name]) flows.push_back(FlowOf(key));
  }
  return flows;
}

absl::StatusOr<std::vector<InstalledElement>> FakeFirewall::ReadDenied(bool enforce) {
  std::vector<InstalledElement> denied;
  if (!table_) return denied;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const auto set = table_->denied_sets.find(DeniedSetName(family, enforce));
    if (set == table_->denied_sets.end()) continue;
    denied.insert(denied.end(), set->second.begin(), set->second.end());
  }
  return denied;
}

absl::StatusOr<Counter> FakeFirewall::ReadCounter(absl::string_view name) {
  if (!table_) return absl::NotFoundError("no table");
  const auto it = table_->counters.find(name);
  if (it == table_->counters.end()) return absl::NotFoundError("no such counter");
  return it->second;
}

void FakeFirewall::Use(const SetId& set, const AccessKey& key, Counter packets) {
  if (!table_ || !table_->sets.contains(set)) return;
  const auto it = table_->sets[set].find(key);
  if (it == table_->sets[set].end()) return;
  it->second.counter.packets += packets.packets;
  it->second.counter.bytes += packets.bytes;
}

bool FakeFirewall::Admits(const Address& source, Protocol protocol, uint16_t port) const {
  if (!table_) return true;
  const BootTime now = clock_.Read().boot;
  for (const auto& [id, elements] : table_->sets) {
    if (id.family != source.family) continue;
    const Prefix prefix{.address = Masked(source, id.prefix_length), .length = id.prefix_length};
    const auto it = elements.find({.source = prefix, .protocol = protocol, .port = port});
    if (it != elements.end() && it->second.end > now) return true;
  }
  return false;
}

bool FakeFirewall::Drops() const {
  if (!table_) return false;
  const auto armed = table_->timed_sets.find(kArmedSet);
  if (armed != table_->timed_sets.end() && armed->second <= clock_.Read().boot) return false;
  return std::any_of(table_->rules.begin(), table_->rules.end(), [](const Rule& rule) {
    return std::any_of(rule.expressions.begin(), rule.expressions.end(),
                       [](const Expression& e) { return std::holds_alternative<Drop>(e); });
  });
}

}  // namespace postern
