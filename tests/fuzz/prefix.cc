// Addresses and prefixes as people write them.

#include "common/prefix.h"

#include <cstdint>

#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

constexpr size_t kMostMessage = 512;

void CheckAddress(absl::string_view text) {
  const absl::StatusOr<Address> address = Address::Parse(text);
  if (!address.ok()) {
    FUZZ_CHECK(IsGoodMessage(address.status().message(), kMostMessage));
    return;
  }
  const absl::StatusOr<Address> again = Address::Parse(address->ToString());
  FUZZ_CHECK(again.ok() && *again == *address);
  if (address->family == Family::kIpv4) {
    for (size_t i = address->size(); i < address->bytes.size(); ++i) {
      FUZZ_CHECK(address->bytes[i] == 0);
    }
  }
  for (int length = 0; length <= AddressBits(address->family); ++length) {
    const Prefix prefix{.address = Masked(*address, length),
                        .length = static_cast<uint8_t>(length)};
    FUZZ_CHECK(prefix.Contains(*address));
    FUZZ_CHECK(prefix.Contains(Prefix::Host(*address)));
    FUZZ_CHECK(Masked(prefix.address, length) == prefix.address);
  }
}

void CheckPrefix(absl::string_view text) {
  const absl::StatusOr<Prefix> prefix = Prefix::Parse(text);
  if (!prefix.ok()) {
    FUZZ_CHECK(IsGoodMessage(prefix.status().message(), kMostMessage));
    return;
  }
  FUZZ_CHECK(prefix->length <= AddressBits(prefix->family()));
  FUZZ_CHECK(Masked(prefix->address, prefix->length) == prefix->address);
  FUZZ_CHECK(prefix->Contains(*prefix));
  const absl::StatusOr<Prefix> again = Prefix::Parse(prefix->ToString());
  FUZZ_CHECK(again.ok() && *again == *prefix);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  postern::CheckAddress(postern::AsText(data, size));
  postern::CheckPrefix(postern::AsText(data, size));
  return 0;
}
