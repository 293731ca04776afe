#include "agent/firewall/nft/elements.h"

#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <optional>
#include <string>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"

namespace postern::nft {
namespace {

// An attribute's length has 16 bits; the list of a message's elements is one
// attribute.
constexpr size_t kMaxListBytes = 60'000;

// How long an element lives that is added only to be removed in the same
// transaction.
constexpr uint64_t kBriefMilliseconds = 60'000;

constexpr char kCounter[] = "counter";

constexpr size_t AttributeSize(size_t payload) { return MNL_ATTR_HDRLEN + MNL_ALIGN(payload); }

// An element in a message: the key, and the two timeouts where it is added.
constexpr size_t ElementSize(size_t key, bool timed) {
  return MNL_ATTR_HDRLEN + MNL_ATTR_HDRLEN + AttributeSize(key) +
         (timed ? 2 * AttributeSize(sizeof(uint64_t)) : 0);
}

// A counter as an element holds it.
constexpr size_t kCounterSize = MNL_ATTR_HDRLEN + AttributeSize(sizeof kCounter) + MNL_ATTR_HDRLEN +
                                2 * AttributeSize(sizeof(uint64_t));

// What a message says about its set.
size_t SetNameRoom(const std::string& set) {
  return AttributeSize(sizeof kTableName) + AttributeSize(set.size() + 1);
}

// Starts a message about elements of `set`, with room for `list` bytes of them.
nlmsghdr* StartMessage(uint16_t type, const std::string& set, size_t operation, size_t list,
                       Batch& batch) {
  const uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
  nlmsghdr* message = batch.Add(type, flags, operation, SetNameRoom(set) + MNL_ATTR_HDRLEN + list);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, kTableName);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set.c_str());
  return message;
}

// An element of which the key is known; `timeout` empty leaves it untimed.
void PutOne(nlmsghdr* message, const Bytes& key, std::optional<uint64_t> timeout) {
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* nested_key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put(message, NFTA_DATA_VALUE, key.size(), key.data());
  mnl_attr_nest_end(message, nested_key);
  if (timeout.has_value()) {
    // Without the second, a kernel that could would still not move the end.
    mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(*timeout));
    mnl_attr_put_u64(message, NFTA_SET_ELEM_EXPIRATION, htobe64(*timeout));
  }
  mnl_attr_nest_end(message, element);
}

// A refused source: its timeout is its set's, and its end and its counts are those
// that it had.
void PutDenied(nlmsghdr* message, const InstalledElement& denied) {
  const absl::Duration left =
      std::clamp(denied.remaining, absl::Milliseconds(1), absl::Duration(kDeniedFor));
  const Bytes key = ElementKey(denied.key);
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* nested_key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put(message, NFTA_DATA_VALUE, key.size(), key.data());
  mnl_attr_nest_end(message, nested_key);
  mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT,
                   htobe64(static_cast<uint64_t>(absl::ToInt64Milliseconds(kDeniedFor))));
  mnl_attr_put_u64(message, NFTA_SET_ELEM_EXPIRATION,
                   htobe64(static_cast<uint64_t>(absl::ToInt64Milliseconds(left))));
  nlattr* expression = mnl_attr_nest_start(message, NFTA_SET_ELEM_EXPR);
  mnl_attr_put_strz(message, NFTA_EXPR_NAME, kCounter);
  nlattr* data = mnl_attr_nest_start(message, NFTA_EXPR_DATA);
  mnl_attr_put_u64(message, NFTA_COUNTER_BYTES, htobe64(denied.counter.bytes));
  mnl_attr_put_u64(message, NFTA_COUNTER_PACKETS, htobe64(denied.counter.packets));
  mnl_attr_nest_end(message, data);
  mnl_attr_nest_end(message, expression);
  mnl_attr_nest_end(message, element);
}

// Operations next to one another that do the same to the same set.
struct Run {
  const SetId* set = nullptr;
  bool removes = false;
  // The index of the first operation.
  size_t first = 0;
  // One a key; the timeouts are empty when the run removes.
  std::vector<Bytes> keys;
  std::vector<uint64_t> timeouts;
};

struct ElementOperation {
  const SetId* set;
  const AccessKey* key;
  // Empty: remove it.
  std::optional<uint64_t> timeout;
};

std::optional<ElementOperation> AsElementOperation(const Operation& operation,
                                                   const TimeoutClock& clock) {
  if (const auto* put = std::get_if<PutElement>(&operation)) {
    return ElementOperation{&put->set, &put->key, TimeoutMilliseconds(clock, put->end)};
  }
  if (const auto* remove = std::get_if<RemoveElement>(&operation)) {
    return ElementOperation{&remove->set, &remove->key, std::nullopt};
  }
  return std::nullopt;
}

Run TakeRun(const Transaction& transaction, size_t first, const Capabilities& capabilities,
            const TimeoutClock& clock) {
  Run run;
  run.first = first;
  absl::flat_hash_set<AccessKey> seen;
  for (size_t i = first; i < transaction.size(); ++i) {
    const std::optional<ElementOperation> operation = AsElementOperation(transaction[i], clock);
    if (!operation.has_value()) break;
    const bool removes = !operation->timeout.has_value();
    if (i == first) {
      run.set = operation->set;
      run.removes = removes;
    }
    if (*operation->set != *run.set || removes != run.removes) break;
    // A run that deletes would delete a repeated key twice, and fail.
    const bool deletes = removes ? !capabilities.destroys_elements : !capabilities.updates_in_place;
    if (deletes && !seen.insert(*operation->key).second) break;
    Bytes key = ElementKey(*operation->key);
    const size_t size = ElementSize(key.size(), true);
    if ((run.keys.size() + 1) * size > kMaxListBytes) break;
    if (!run.keys.empty() && key.size() != run.keys.front().size()) break;
    run.keys.push_back(std::move(key));
    if (!removes) run.timeouts.push_back(*operation->timeout);
  }
  return run;
}

// One message with all of the run's keys. `timeouts` is as long as the keys, or
// empty for elements named by key alone.
void AppendMessage(uint16_t type, const Run& run, absl::Span<const uint64_t> timeouts,
                   Batch& batch) {
  const size_t size = ElementSize(run.keys.front().size(), !timeouts.empty());
  nlmsghdr* message = StartMessage(type, run.set->Name(), run.first, run.keys.size() * size, batch);
  nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  batch.SetElements(message->nlmsg_len, size);
  for (size_t i = 0; i < run.keys.size(); ++i) {
    PutOne(message, run.keys[i],
           timeouts.empty() ? std::nullopt : std::optional<uint64_t>(timeouts[i]));
  }
  mnl_attr_nest_end(message, list);
}

// Elements that are keys alone, all with the same timeout or without one.
void AppendKeys(const std::string& set, uint32_t key_length, absl::Span<const Bytes> keys,
                std::optional<uint64_t> timeout, size_t operation, Batch& batch) {
  const size_t size = ElementSize(key_length, timeout.has_value());
  const size_t per_message = kMaxListBytes / size;
  while (!keys.empty()) {
    const absl::Span<const Bytes> now = keys.subspan(0, std::min(keys.size(), per_message));
    nlmsghdr* message = StartMessage(NFT_MSG_NEWSETELEM, set, operation, now.size() * size, batch);
    nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const Bytes& key : now) PutOne(message, key, timeout);
    mnl_attr_nest_end(message, list);
    keys.remove_prefix(now.size());
  }
}

}  // namespace

size_t AppendElements(const Transaction& transaction, size_t first,
                      const Capabilities& capabilities, const TimeoutClock& clock, Batch& batch) {
  const Run run = TakeRun(transaction, first, capabilities, clock);
  const bool in_place =
      run.removes ? capabilities.destroys_elements : capabilities.updates_in_place;
  if (!in_place) {
    // Adding first makes sure that there is something to delete; one that is
    // there already stays as it is.
    const std::vector<uint64_t> brief(run.keys.size(), kBriefMilliseconds);
    AppendMessage(NFT_MSG_NEWSETELEM, run, brief, batch);
    AppendMessage(NFT_MSG_DELSETELEM, run, {}, batch);
  }
  if (!run.removes) {
    AppendMessage(NFT_MSG_NEWSETELEM, run, run.timeouts, batch);
  } else if (in_place) {
    AppendMessage(kDestroySetElement, run, {}, batch);
  }
  return first + run.keys.size();
}

void AppendConstantElements(const AddConstantSet& set, size_t operation, Batch& batch) {
  AppendKeys(set.name, set.key_length, set.elements, std::nullopt, operation, batch);
}

void AppendTimedElements(const AddTimedSet& set, const TimeoutClock& clock, size_t operation,
                         Batch& batch) {
  const std::optional<uint64_t> timeout = TimeoutMilliseconds(clock, set.end);
  if (!timeout.has_value()) return;
  AppendKeys(set.name, set.key_length, set.elements, timeout, operation, batch);
}

void AppendDeniedElements(const AddDeniedSet& set, size_t operation, Batch& batch) {
  const std::string name = DeniedSetName(set.family, set.enforce);
  const size_t key = static_cast<size_t>(AddressBits(set.family)) / 8 + 8;
  const size_t size = ElementSize(key, true) + kCounterSize;
  const size_t per_message = kMaxListBytes / size;
  absl::Span<const InstalledElement> left = set.elements;
  while (!left.empty()) {
    const auto now = left.subspan(0, std::min(left.size(), per_message));
    nlmsghdr* message = StartMessage(NFT_MSG_NEWSETELEM, name, operation, now.size() * size, batch);
    nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const InstalledElement& element : now) PutDenied(message, element);
    mnl_attr_nest_end(message, list);
    left.remove_prefix(now.size());
  }
}

}  // namespace postern::nft
