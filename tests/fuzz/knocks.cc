// What nfnetlink_log says of refused packets, whose bytes are a stranger's.

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>

#include <cstdint>
#include <optional>

#include "agent/firewall/nft/attributes.h"
#include "agent/firewall/nft/denied_log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guarded.h"

namespace postern {
namespace {

void CheckKnock(absl::Span<const uint8_t> bytes) {
  const std::optional<AccessKey> knock = nft::ParseKnock(bytes);
  if (!knock) return;
  FUZZ_CHECK(knock->source.length == AddressBits(knock->source.family()));
  FUZZ_CHECK(knock->source.family() == (bytes[0] >> 4 == 4 ? Family::kIpv4 : Family::kIpv6));
  FUZZ_CHECK(knock->protocol == Protocol::kTcp || knock->protocol == Protocol::kUdp);
}

}  // namespace
}  // namespace postern

// Once as a packet, once as messages of the kernel about packets.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static postern::Guarded& memory = *new postern::Guarded;
  const auto* packet = reinterpret_cast<const uint8_t*>(memory.Copy(data, size));
  postern::CheckKnock({packet, size});
  postern::ForEachMessage(data, size, postern::nft::IsWhole, [](const nlmsghdr& message) {
    postern::CheckKnock(postern::nft::ParseLogged(message));
  });
  return 0;
}
