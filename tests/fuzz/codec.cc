// Lists and times as they stand in the ledger's database.

#include "agent/store/codec.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

constexpr size_t kMostMessage = 512;

void CheckPrefixes(absl::string_view text) {
  const absl::StatusOr<std::vector<Prefix>> prefixes = DecodePrefixes(text);
  if (!prefixes.ok()) {
    FUZZ_CHECK(IsGoodMessage(prefixes.status().message(), kMostMessage));
    return;
  }
  const absl::StatusOr<std::vector<Prefix>> again = DecodePrefixes(EncodePrefixes(*prefixes));
  FUZZ_CHECK(again.ok() && *again == *prefixes);
}

void CheckPorts(absl::string_view text) {
  const absl::StatusOr<std::vector<Port>> ports = DecodePorts(text);
  if (!ports.ok()) {
    FUZZ_CHECK(IsGoodMessage(ports.status().message(), kMostMessage));
    return;
  }
  for (const Port& port : *ports) FUZZ_CHECK(port.number != 0 && (port.tcp || port.udp));
  const std::string encoded = EncodePorts(*ports);
  const absl::StatusOr<std::vector<Port>> again = DecodePorts(encoded);
  FUZZ_CHECK(again.ok() && *again == *ports);
  // Nothing but what was written is believed: a byte that was lost or changed is
  // noticed.
  std::string written;
  for (const char c : text) {
    if (c != ' ' || (!written.empty() && written.back() != ' ')) written += c;
  }
  if (!written.empty() && written.back() == ' ') written.pop_back();
  FUZZ_CHECK(encoded == written);
}

void CheckTime(absl::string_view bytes) {
  int64_t nanoseconds = 0;
  if (bytes.size() < sizeof nanoseconds) return;
  std::memcpy(&nanoseconds, bytes.data(), sizeof nanoseconds);
  FUZZ_CHECK(EncodeTime(DecodeTime(nanoseconds)) == nanoseconds);
  FUZZ_CHECK(EncodeDuration(DecodeDuration(nanoseconds)) == nanoseconds);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = postern::AsText(data, size);
  postern::CheckPrefixes(text);
  postern::CheckPorts(text);
  postern::CheckTime(text);
  return 0;
}
