// Ports, times and addresses as people give them to posternctl.

#include "cli/forms.h"

#include <cstdint>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace postern {
namespace {

constexpr size_t kMostMessage = 1024;
const absl::Time kNow = absl::FromUnixSeconds(1'714'572'000);

template <typename T>
bool Accepted(const absl::StatusOr<T>& parsed) {
  if (!parsed.ok()) FUZZ_CHECK(IsGoodMessage(parsed.status().message(), kMostMessage));
  return parsed.ok();
}

void CheckPort(absl::string_view text) {
  const absl::StatusOr<v1::Port> port = ParsePort(text);
  if (!Accepted(port)) return;
  FUZZ_CHECK(port->number() >= 1 && port->number() <= 65535);
  const absl::StatusOr<v1::Port> again = ParsePort(FormatPort(*port));
  FUZZ_CHECK(again.ok() && again->number() == port->number() &&
             again->protocol() == port->protocol());
}

void CheckTime(absl::string_view text) {
  const absl::StatusOr<absl::Time> time = ParseTimestamp(text);
  const absl::StatusOr<absl::Time> since = ParseSince(text, kNow);
  if (Accepted(since) && time.ok()) FUZZ_CHECK(*since == *time);
  if (!Accepted(time)) return;
  // An offset can lead beyond what four digits of a year can say.
  const int64_t year = absl::ToCivilYear(*time, absl::UTCTimeZone()).year();
  if (year < 0 || year > 9999) return;
  const absl::StatusOr<absl::Time> again =
      ParseTimestamp(absl::FormatTime("%E4Y-%m-%d%ET%H:%M:%E*S%Ez", *time, absl::UTCTimeZone()));
  FUZZ_CHECK(again.ok() && *again == *time);
}

void CheckHostPort(absl::string_view text) {
  const absl::StatusOr<HostPort> parsed = ParseHostPort(text);
  if (!Accepted(parsed)) return;
  FUZZ_CHECK(parsed->port >= 1 && parsed->port <= 65535);
  FUZZ_CHECK(!(parsed->is_ipv4 && parsed->is_ipv6));
  FUZZ_CHECK(parsed->is_ipv4 || parsed->is_ipv6 || IsDnsName(parsed->host));
  const absl::StatusOr<HostPort> again = ParseHostPort(parsed->ToString());
  FUZZ_CHECK(again.ok() && again->host == parsed->host && again->port == parsed->port &&
             again->is_ipv4 == parsed->is_ipv4 && again->is_ipv6 == parsed->is_ipv6);
}

void CheckSshClient(absl::string_view text) {
  const absl::StatusOr<Address> client = SshClient(text);
  if (!Accepted(client)) return;
  const absl::StatusOr<Address> again = Address::Parse(client->ToString());
  FUZZ_CHECK(again.ok() && *again == *client);
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = postern::AsText(data, size);
  postern::CheckPort(text);
  postern::CheckTime(text);
  postern::CheckHostPort(text);
  postern::CheckSshClient(text);
  return 0;
}
