#include "agent/grants/grant.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace postern {
namespace {

void AppendKey(const Prefix& source, Protocol protocol, uint16_t port,
               std::vector<AccessKey>& keys) {
  keys.push_back(AccessKey{.source = source, .protocol = protocol, .port = port});
}

void AppendKeys(const std::vector<Prefix>& sources, const std::vector<Port>& ports,
                std::vector<AccessKey>& keys) {
  keys.reserve(keys.size() + sources.size() * ports.size());
  for (const Prefix& source : sources) {
    for (const Port& port : ports) {
      if (port.tcp) AppendKey(source, Protocol::kTcp, port.number, keys);
      if (port.udp) AppendKey(source, Protocol::kUdp, port.number, keys);
    }
  }
}

// Without repeats.
void SortOut(std::vector<AccessKey>& keys) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
}

// Joined with their lengths, so that no two lists of parts read the same.
std::string JoinParts(const std::vector<std::string>& parts) {
  return absl::StrJoin(parts, "", [](std::string* out, const std::string& part) {
    absl::StrAppend(out, part.size(), ":", part);
  });
}

}  // namespace

std::string Port::ToString() const {
  return absl::StrCat(number, tcp && udp ? "/any" : udp ? "/udp" : "/tcp");
}

std::string AccessKey::ToString() const {
  return absl::StrCat(source.ToString(), " to ", port,
                      protocol == Protocol::kTcp ? "/tcp" : "/udp");
}

std::vector<AccessKey> KeysOf(const Grant& grant) {
  std::vector<AccessKey> keys;
  AppendKeys(grant.sources, grant.ports, keys);
  SortOut(keys);
  return keys;
}

std::vector<AccessKey> SessionKeysOf(const Grant& grant) {
  std::vector<AccessKey> keys;
  AppendKeys(grant.sources, grant.ports, keys);
  AppendKeys(grant.earlier_sources, grant.ports, keys);
  SortOut(keys);
  return keys;
}

std::string RequestFingerprint(const GrantRequest& request) {
  std::vector<std::string> sources;
  for (const Prefix& source : request.sources) sources.push_back(source.ToString());
  std::sort(sources.begin(), sources.end());
  std::vector<std::string> ports;
  for (const Port& port : request.ports) ports.push_back(port.ToString());
  std::sort(ports.begin(), ports.end());

  const std::string canonical = JoinParts({
      JoinParts(sources),
      JoinParts(ports),
      absl::FormatDuration(request.duration),
      request.not_after ? absl::FormatTime(*request.not_after, absl::UTCTimeZone()) : "",
      request.requestor,
      request.justification,
      request.on_expiry ? absl::StrCat(static_cast<int>(*request.on_expiry)) : "",
  });
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const uint8_t*>(canonical.data()), canonical.size(), digest.data());
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace postern
