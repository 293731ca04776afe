#include "agent/doctor/listeners.h"

#include <dirent.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/sessions/netlink.h"
#include "agent/sessions/sock_diag.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kMaxListeners = 4096;
// Of all processes together.
constexpr int kMaxDescriptors = 100'000;

struct Found {
  Listener listener = {};
  uint32_t inode = 0;
};

// A UDP socket that is not connected is closed, to sock_diag.
uint32_t StatesOf(Protocol protocol) {
  return protocol == Protocol::kTcp ? 1U << TCP_LISTEN : 1U << TCP_CLOSE;
}

absl::Status Read(NetlinkSocket& netlink, Protocol protocol, uint8_t family,
                  const std::vector<uint16_t>& ports, std::vector<Found>& found) {
  const size_t before = found.size();
  return netlink.Dump(
      [&](nlmsghdr* message) {
        message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
        auto* request = static_cast<inet_diag_req_v2*>(
            mnl_nlmsg_put_extra_header(message, sizeof(inet_diag_req_v2)));
        request->sdiag_family = family;
        request->sdiag_protocol = static_cast<uint8_t>(protocol);
        request->idiag_states = StatesOf(protocol);
      },
      [&] { found.resize(before); },
      [&](const nlmsghdr& message) {
        const std::optional<TcpSocket> socket = ParseTcpSocket(message);
        if (!socket.has_value() || found.size() == kMaxListeners) return absl::OkStatus();
        const uint16_t port = socket->flow.local_port;
        if (std::find(ports.begin(), ports.end(), port) == ports.end()) return absl::OkStatus();
        inet_diag_msg details;
        std::memcpy(&details, mnl_nlmsg_get_payload(&message), sizeof details);
        found.push_back({.listener = {.protocol = protocol,
                                      .address = socket->flow.local,
                                      .port = port,
                                      .process = ""},
                         .inode = details.idiag_inode});
        return absl::OkStatus();
      });
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// "socket:[12345]"; 0 for anything else.
uint32_t InodeOf(const std::string& link) {
  std::array<char, 64> target;
  const ssize_t size = readlink(link.c_str(), target.data(), target.size());
  if (size <= 0) return 0;
  absl::string_view text(target.data(), static_cast<size_t>(size));
  constexpr absl::string_view kBegin = "socket:[";
  if (!absl::StartsWith(text, kBegin) || !absl::EndsWith(text, "]")) return 0;
  text.remove_prefix(kBegin.size());
  text.remove_suffix(1);
  uint32_t inode = 0;
  return absl::SimpleAtoi(text, &inode) ? inode : 0;
}

std::string NameOf(const std::string& pid) {
  std::string name;
  std::ifstream file(absl::StrCat("/proc/", pid, "/comm"));
  std::getline(file, name);
  return absl::StrCat(name.empty() ? "a program" : Printable(name), " (process ", pid, ")");
}

// Finds the processes that hold the sockets, as far as /proc shows them.
void NameProcesses(std::vector<Found>& found) {
  std::multimap<uint32_t, Listener*> wanted;
  for (Found& one : found) wanted.emplace(one.inode, &one.listener);
  const Directory processes(opendir("/proc"));
  if (processes == nullptr) return;
  int left = kMaxDescriptors;
  while (const dirent* process = readdir(processes.get())) {
    const std::string pid = process->d_name;
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string folder = absl::StrCat("/proc/", pid, "/fd");
    const Directory descriptors(opendir(folder.c_str()));
    if (descriptors == nullptr) continue;
    while (const dirent* descriptor = readdir(descriptors.get())) {
      if (--left == 0) return;
      const uint32_t inode = InodeOf(absl::StrCat(folder, "/", descriptor->d_name));
      if (inode == 0) continue;
      const auto [first, last] = wanted.equal_range(inode);
      // The first holder is the one that handed it on.
      for (auto it = first; it != last; ++it) {
        if (it->second->process.empty()) it->second->process = NameOf(pid);
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<Listener>> ReadListeners(const std::vector<uint16_t>& ports) {
  POSTERN_ASSIGN_OR_RETURN(NetlinkSocket netlink,
                           NetlinkSocket::Open(NETLINK_SOCK_DIAG, "listening sockets"));
  std::vector<Found> found;
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp}) {
    for (const uint8_t family : {AF_INET, AF_INET6}) {
      POSTERN_RETURN_IF_ERROR(Read(netlink, protocol, family, ports, found));
    }
  }
  if (!found.empty()) NameProcesses(found);
  std::vector<Listener> listeners;
  for (Found& one : found) listeners.push_back(std::move(one.listener));
  return listeners;
}

}  // namespace postern
