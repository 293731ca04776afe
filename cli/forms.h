// The forms in which people write ports, times and addresses.

#ifndef POSTERN_CLI_FORMS_H_
#define POSTERN_CLI_FORMS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/prefix.h"
#include "postern/v1/grant.pb.h"

namespace postern {

// Accepts "22" (TCP), "22/tcp", "22/udp" and "22/any".
absl::StatusOr<v1::Port> ParsePort(absl::string_view text);
// "22/tcp", "22/udp", "22/any".
std::string FormatPort(const v1::Port& port);

// Accepts RFC 3339 with its offset: "2024-05-01T14:30:00Z",
// "2024-05-01T14:30:00.5+02:00".
absl::StatusOr<absl::Time> ParseTimestamp(absl::string_view text);

// Accepts a duration before `now` ("7d") or an RFC 3339 time.
absl::StatusOr<absl::Time> ParseSince(absl::string_view text, absl::Time now);

// The client's address in the value of SSH_CONNECTION: the first of its four
// fields (ssh(1)).
absl::StatusOr<Address> SshClient(absl::string_view ssh_connection);

struct HostPort {
  // A name or an address, without brackets.
  std::string host;
  int port = 0;
  bool is_ipv4 = false;
  bool is_ipv6 = false;

  // "host:7443", "[2001:db8::1]:7443".
  std::string ToString() const;
};

// Accepts "HOST:PORT" with a DNS name, an IPv4 address or an IPv6 address in
// brackets.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

// True for letters, digits, dots and inner hyphens in labels of at most 63
// characters, 253 in all: a name that DNS can hold.
bool IsDnsName(absl::string_view text);

}  // namespace postern

#endif  // POSTERN_CLI_FORMS_H_
