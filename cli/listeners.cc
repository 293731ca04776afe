#include "cli/listeners.h"

#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"

namespace postern {
namespace {

// TCP_LISTEN (net/tcp_states.h), as the tables write it.
constexpr char kListening[] = "0A";
// A word of an address in hexadecimal.
constexpr size_t kWordDigits = 8;

std::optional<uint32_t> Hex(absl::string_view digits) {
  uint32_t value = 0;
  if (!absl::SimpleHexAtoi(digits, &value)) return std::nullopt;
  return value;
}

// "0100007F:0016": words of the address as this machine holds them in memory,
// and the port.
std::optional<ListeningSocket> ParseSocket(absl::string_view text, Family family) {
  ListeningSocket socket;
  socket.address.family = family;
  const size_t digits = 2 * socket.address.size();
  if (text.size() != digits + 5 || text[digits] != ':') return std::nullopt;
  for (size_t i = 0; i < digits / kWordDigits; ++i) {
    const std::optional<uint32_t> word = Hex(text.substr(i * kWordDigits, kWordDigits));
    if (!word) return std::nullopt;
    std::memcpy(socket.address.bytes.data() + i * sizeof *word, &*word, sizeof *word);
  }
  const std::optional<uint32_t> port = Hex(text.substr(digits + 1));
  if (!port) return std::nullopt;
  socket.port = static_cast<uint16_t>(*port);
  return socket;
}

}  // namespace

std::vector<ListeningSocket> ParseListeners(std::istream& table, Family family) {
  std::vector<ListeningSocket> listeners;
  std::string line;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string number;
    std::string local;
    std::string remote;
    std::string state;
    fields >> number >> local >> remote >> state;
    if (state != kListening) continue;
    if (const auto socket = ParseSocket(local, family)) listeners.push_back(*socket);
  }
  return listeners;
}

std::vector<ListeningSocket> ReadListeners() {
  std::ifstream ipv4("/proc/net/tcp");
  std::vector<ListeningSocket> listeners = ParseListeners(ipv4, Family::kIpv4);
  std::ifstream ipv6("/proc/net/tcp6");
  const std::vector<ListeningSocket> more = ParseListeners(ipv6, Family::kIpv6);
  listeners.insert(listeners.end(), more.begin(), more.end());
  return listeners;
}

}  // namespace postern
