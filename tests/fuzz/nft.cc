// What nf_tables answers and announces. The input is a netlink datagram.

#include <cstdint>
#include <optional>

#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/read.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guarded.h"

namespace postern {
namespace {

constexpr SetId kSets[] = {{Family::kIpv4, 32, Admission::kKeep},
                           {Family::kIpv4, 0, Admission::kCut},
                           {Family::kIpv6, 64, Admission::kKeep},
                           {Family::kIpv6, 128, Admission::kCut}};

bool Equal(absl::Span<const uint8_t> a, const Bytes& b) { return a == absl::MakeConstSpan(b); }

// What is read is what the kernel holds: written again, it is the same bytes.
void CheckElement(const nft::RawElement& raw) {
  for (const SetId& set : kSets) {
    const std::optional<InstalledElement> element = nft::ParseElement(raw, set);
    if (!element.has_value()) continue;
    FUZZ_CHECK(element->key.source.family() == set.family);
    FUZZ_CHECK(element->key.source.length == set.prefix_length);
    FUZZ_CHECK(element->remaining > absl::ZeroDuration());
    FUZZ_CHECK(raw.expiration.has_value() || element->remaining == absl::InfiniteDuration());
    FUZZ_CHECK(Equal(raw.key, ElementKey(element->key)));
  }
  const std::optional<Flow> flow = nft::ParseFlow(raw.key);
  if (flow.has_value()) FUZZ_CHECK(Equal(raw.key, FlowKey(*flow)));
}

void CheckMessage(const nlmsghdr& message) {
  if (const std::optional<SetId> set = nft::ParseSet(message)) {
    FUZZ_CHECK(set->prefix_length <= AddressBits(set->family));
    FUZZ_CHECK(nft::ParseSetName(set->Name()) == set);
  }
  size_t elements = 0;
  nft::ForEachElement(message, [&elements](const nft::RawElement& raw) {
    ++elements;
    CheckElement(raw);
  });
  FUZZ_CHECK(elements * sizeof(nlattr) <= message.nlmsg_len);
  nft::ParseCounter(message);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::ForEachMessage(data, size, postern::nft::IsWhole, postern::CheckMessage);
  return 0;
}
