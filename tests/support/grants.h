// Short ways to write grants in tests.

#ifndef POSTERN_TESTS_SUPPORT_GRANTS_H_
#define POSTERN_TESTS_SUPPORT_GRANTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "common/prefix.h"

namespace postern {

// Both abort the test program on bad text, which is the test's own mistake.
inline Prefix P(absl::string_view text) { return Prefix::Parse(text).value(); }
inline Address A(absl::string_view text) { return Address::Parse(text).value(); }

inline Port Tcp(uint16_t number) { return {.number = number, .tcp = true, .udp = false}; }
inline Port Udp(uint16_t number) { return {.number = number, .tcp = false, .udp = true}; }
inline Port Any(uint16_t number) { return {.number = number, .tcp = true, .udp = true}; }

inline AccessKey Key(absl::string_view source, uint16_t port, Protocol protocol = Protocol::kTcp) {
  return {.source = P(source), .protocol = protocol, .port = port};
}

// A UUID that ends in `n`.
inline std::string Id(int n) { return absl::StrFormat("00000000-0000-4000-8000-%012d", n); }

// An hour of 22/tcp from 203.0.113.7.
inline GrantRequest Request(int id) {
  GrantRequest request;
  request.id = Id(id);
  request.sources = {P("203.0.113.7")};
  request.ports = {Tcp(22)};
  request.duration = absl::Hours(1);
  request.requestor = "alice";
  request.justification = "deploy 142";
  return request;
}

}  // namespace postern

#endif  // POSTERN_TESTS_SUPPORT_GRANTS_H_
