#include "agent/doctor/facts.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/doctor/listeners.h"
#include "agent/firewall/nft/socket.h"
#include "agent/sessions/local_addresses.h"
#include "agent/sessions/sock_diag.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

// Some files of /proc; empty for one that does not exist. The paths below are
// those of the calling thread: /proc/net alone would be those of the process.
absl::StatusOr<std::optional<std::string>> ReadFile(const char* path) {
  constexpr std::streamsize kMost = 4096;
  errno = 0;
  std::ifstream file(path);
  if (!file) {
    if (errno == ENOENT) return std::nullopt;
    return ErrnoStatus(errno, path);
  }
  std::string text(static_cast<size_t>(kMost), '\0');
  file.read(text.data(), kMost);
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

class HostReader {
 public:
  HostFacts Read(const std::vector<uint16_t>& ports) {
    ReadRuleset();
    Take(ReadListeners(ports), facts_.listeners);
    ReadLocal();
    facts_.legacy_ipv4_tables = LegacyTables("/proc/thread-self/net/ip_tables_names");
    facts_.legacy_ipv6_tables = LegacyTables("/proc/thread-self/net/ip6_tables_names");
    // Missing where the kernel came up without IPv6.
    facts_.ipv6_enabled = Number("/proc/sys/net/ipv6/conf/all/disable_ipv6").value_or(1) == 0;
    facts_.tracked = Number("/proc/sys/net/netfilter/nf_conntrack_count");
    facts_.tracked_at_most = Number("/proc/sys/net/netfilter/nf_conntrack_max");
    const auto loose = Number("/proc/sys/net/netfilter/nf_conntrack_tcp_loose");
    if (loose) facts_.tracks_midstream = *loose != 0;
    ReadSockets();
    return std::move(facts_);
  }

 private:
  template <typename T>
  void Take(absl::StatusOr<T> read, T& into) {
    if (read.ok()) {
      into = *std::move(read);
    } else {
      Unread(read.status());
    }
  }

  void Unread(const absl::Status& status) { facts_.unread.push_back(Printable(status.message())); }

  void ReadRuleset() {
    const absl::StatusOr<std::unique_ptr<nft::Socket>> socket = nft::Socket::Open();
    if (!socket.ok()) return Unread(socket.status());
    Take(nft::ReadForeignRuleset(**socket), facts_.ruleset);
  }

  void ReadLocal() {
    absl::StatusOr<LocalAddresses> local = LocalAddresses::Open();
    if (!local.ok()) return Unread(local.status());
    Take(local->Read(), facts_.local);
  }

  void ReadSockets() {
    absl::StatusOr<SockDiag> sock_diag = SockDiag::Open();
    if (!sock_diag.ok()) return Unread(sock_diag.status());
    Take(sock_diag->CanDestroy(), facts_.destroys_sockets);
  }

  std::vector<std::string> LegacyTables(const char* path) {
    const absl::StatusOr<std::optional<std::string>> text = ReadFile(path);
    if (absl::IsPermissionDenied(text.status())) {
      facts_.legacy_tables_unread = true;
      return {};
    }
    if (!text.ok()) {
      Unread(text.status());
      return {};
    }
    return absl::StrSplit(text->value_or(""), '\n', absl::SkipWhitespace());
  }

  std::optional<uint64_t> Number(const char* path) {
    const absl::StatusOr<std::optional<std::string>> text = ReadFile(path);
    if (!text.ok()) Unread(text.status());
    uint64_t number = 0;
    if (!text.ok() || !text->has_value() ||
        !absl::SimpleAtoi(absl::StripAsciiWhitespace(**text), &number)) {
      return std::nullopt;
    }
    return number;
  }

  HostFacts facts_;
};

}  // namespace

HostFacts ReadHost(const std::vector<uint16_t>& ports) { return HostReader().Read(ports); }

}  // namespace postern
