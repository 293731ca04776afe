#include "agent/config/decode.h"

#include <sys/un.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/config/fields.h"

namespace postern {
namespace {

constexpr size_t kMaxPorts = 64;
constexpr size_t kMaxInterfaces = 64;
constexpr size_t kMaxPrefixes = 1024;
constexpr size_t kMaxPeers = 256;
constexpr size_t kMaxSanBytes = 512;
constexpr absl::Duration kLongestGrant = absl::Hours(365 * 24);
constexpr uint32_t kMostLiveGrants = 1'000'000;

// Every key of agent.yaml.
const ConfigKeys& AgentKeys() {
  static const auto& keys = *new ConfigKeys{
      {"",
       {"mode", "guard", "limits", "on_expiry", "state_dir", "socket", "metrics_socket", "listen",
        "controller"}},
      {"guard", {"ports", "trusted_interfaces", "always_allow"}},
      {"limits",
       {"max_duration", "allowed_sources", "allowed_ports", "shortest_prefix", "max_live_grants"}},
      {"limits.shortest_prefix", {"ipv4", "ipv6"}},
      {"listen", {"address", "from", "tls", "peers"}},
      {"listen.tls", {"cert", "key", "ca"}},
      {"listen.peers", {"san", "role"}},
      {"controller", {"address", "ca", "join_token_file"}},
  };
  return keys;
}

absl::StatusOr<std::vector<uint16_t>> ReadPorts(const Field& field) {
  return ReadList(field, 1, kMaxPorts, ReadPort);
}

absl::StatusOr<std::vector<Prefix>> ReadPrefixes(const Field& field) {
  return ReadList(field, 1, kMaxPrefixes, ReadPrefix);
}

// A prefix that may come in without a grant: any but everything.
absl::StatusOr<Prefix> ReadAlwaysAllowed(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const Prefix prefix, ReadPrefix(field));
  if (prefix.length == 0) {
    return field.Error(absl::StrCat("cannot hold ", prefix.ToString(),
                                    ", which would leave nothing closed; name the hosts or "
                                    "networks, or set mode: observe"));
  }
  return prefix;
}

absl::StatusOr<Mode> ReadMode(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const int mode,
                           ReadChoice(field, {{"enforce", static_cast<int>(Mode::kEnforce)},
                                              {"observe", static_cast<int>(Mode::kObserve)}}));
  return static_cast<Mode>(mode);
}

absl::StatusOr<OnExpiry> ReadOnExpiry(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const int on_expiry,
                           ReadChoice(field, {{"keep", static_cast<int>(OnExpiry::kKeep)},
                                              {"cut", static_cast<int>(OnExpiry::kCut)},
                                              {"reset", static_cast<int>(OnExpiry::kReset)}}));
  return static_cast<OnExpiry>(on_expiry);
}

absl::StatusOr<Role> ReadRole(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const int role,
                           ReadChoice(field, {{"controller", static_cast<int>(Role::kController)},
                                              {"operator", static_cast<int>(Role::kOperator)},
                                              {"viewer", static_cast<int>(Role::kViewer)}}));
  return static_cast<Role>(role);
}

absl::StatusOr<std::string> ReadSocket(const Field& field) {
  constexpr size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;
  POSTERN_ASSIGN_OR_RETURN(std::string path, ReadPath(field));
  if (path.size() > kMaxSocketPath) {
    return field.Error(absl::StrCat("is ", Quoted(path), ", ", path.size(),
                                    " bytes; the kernel takes ", kMaxSocketPath,
                                    " in the path of a socket"));
  }
  return path;
}

// One of the two families in limits.shortest_prefix, `bits` long.
auto PrefixLengthReader(uint32_t bits) {
  return [bits](const Field& field) -> absl::StatusOr<uint8_t> {
    POSTERN_ASSIGN_OR_RETURN(const uint32_t length, ReadNumber(field, 0, bits));
    return static_cast<uint8_t>(length);
  };
}

absl::StatusOr<Config> ReadGuard(const Field& field, Config config) {
  POSTERN_ASSIGN_OR_RETURN(const Section guard, Section::Open(field, "guard", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(guard.Optional("ports", ReadPorts, config.limits.guarded_ports));
  POSTERN_RETURN_IF_ERROR(guard.Optional(
      "trusted_interfaces",
      [](const Field& list) { return ReadList(list, 0, kMaxInterfaces, ReadInterface); },
      config.trusted_interfaces));
  POSTERN_RETURN_IF_ERROR(guard.Optional(
      "always_allow",
      [](const Field& list) { return ReadList(list, 0, kMaxPrefixes, ReadAlwaysAllowed); },
      config.always_allow));
  return config;
}

absl::StatusOr<Limits> ReadShortestPrefix(const Field& field, Limits limits) {
  POSTERN_ASSIGN_OR_RETURN(const Section shortest,
                           Section::Open(field, "limits.shortest_prefix", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(
      shortest.Optional("ipv4", PrefixLengthReader(32), limits.shortest_prefix_ipv4));
  POSTERN_RETURN_IF_ERROR(
      shortest.Optional("ipv6", PrefixLengthReader(128), limits.shortest_prefix_ipv6));
  return limits;
}

absl::StatusOr<Limits> ReadLimits(const Field& field, Limits limits) {
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "limits", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(section.Optional(
      "max_duration",
      [](const Field& value) { return ReadDuration(value, absl::Seconds(1), kLongestGrant); },
      limits.max_duration));
  POSTERN_RETURN_IF_ERROR(
      section.Optional("allowed_sources", ReadPrefixes, limits.allowed_sources));
  POSTERN_RETURN_IF_ERROR(section.Optional("allowed_ports", ReadPorts, limits.allowed_ports));
  POSTERN_RETURN_IF_ERROR(section.Optional(
      "shortest_prefix",
      [&limits](const Field& value) { return ReadShortestPrefix(value, limits); }, limits));
  POSTERN_RETURN_IF_ERROR(section.Optional(
      "max_live_grants", [](const Field& value) { return ReadNumber(value, 1, kMostLiveGrants); },
      limits.max_live_grants));
  return limits;
}

absl::StatusOr<TlsFiles> ReadTls(const Field& field) {
  TlsFiles files;
  POSTERN_ASSIGN_OR_RETURN(const Section tls, Section::Open(field, "listen.tls", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(tls.Required("cert", "the file with the agent's certificate",
                                       ReadCredentialPath, files.cert));
  POSTERN_RETURN_IF_ERROR(
      tls.Required("key", "the file with the certificate's key", ReadCredentialPath, files.key));
  POSTERN_RETURN_IF_ERROR(tls.Required("ca", "the file with the authority of the clients",
                                       ReadCredentialPath, files.ca));
  return files;
}

absl::StatusOr<std::string> ReadSan(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::string san, ReadText(field, kMaxSanBytes));
  if (san.find_first_of("* ") != std::string::npos) {
    return field.WrongKind("the whole URI or DNS name of one certificate");
  }
  if (absl::StartsWith(san, kControllerActors)) {
    return field.Error(absl::StrCat("cannot begin with ", Quoted(kControllerActors),
                                    ", which stands for the controller that the agent dials"));
  }
  return san;
}

absl::StatusOr<PeerRule> ReadPeer(const Field& field) {
  PeerRule peer;
  POSTERN_ASSIGN_OR_RETURN(const Section section,
                           Section::Open(field, "listen.peers", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(
      section.Required("san", "the URI or DNS name in the peer's certificate", ReadSan, peer.san));
  POSTERN_RETURN_IF_ERROR(
      section.Required("role", "controller, operator or viewer", ReadRole, peer.role));
  return peer;
}

absl::StatusOr<std::vector<PeerRule>> ReadPeers(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<PeerRule> peers, ReadList(field, 1, kMaxPeers, ReadPeer));
  for (size_t i = 0; i < peers.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (peers[i].san == peers[j].san) {
        return field.node().items[i].Error(absl::StrCat(
            field.name(), " names ", Quoted(peers[i].san), " twice; remove one of them"));
      }
    }
  }
  return peers;
}

absl::StatusOr<ListenConfig> ReadListen(const Field& field) {
  ListenConfig listen;
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "listen", AgentKeys()));
  const auto read_address = [&listen](const Field& value) -> absl::StatusOr<uint16_t> {
    POSTERN_ASSIGN_OR_RETURN(const HostPort endpoint, ReadHostPort(value));
    const absl::StatusOr<Address> address = Address::Parse(endpoint.host);
    if (!address.ok()) {
      return value.Error(absl::StrCat("wants an address of this host, such as \"[::]:7443\"; ",
                                      address.status().message()));
    }
    listen.address = *address;
    return endpoint.port;
  };
  POSTERN_RETURN_IF_ERROR(
      section.Required("address", "the address and port to listen on, such as \"[::]:7443\"",
                       read_address, listen.port));
  POSTERN_RETURN_IF_ERROR(
      section.Required("from", "the prefixes that may reach the port, such as [192.0.2.0/24]",
                       ReadPrefixes, listen.from));
  POSTERN_RETURN_IF_ERROR(section.Required("tls", "cert, key and ca", ReadTls, listen.tls));
  POSTERN_RETURN_IF_ERROR(section.Required(
      "peers", "who may connect, such as [{san: \"spiffe://...\", role: controller}]", ReadPeers,
      listen.peers));
  return listen;
}

absl::StatusOr<std::string> ReadControllerAddress(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const HostPort endpoint, ReadHostPort(field));
  constexpr char kHostName[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  const bool is_host = endpoint.bracketed
                           ? Address::Parse(endpoint.host).ok()
                           : endpoint.host.find_first_not_of(kHostName) == std::string::npos;
  if (!is_host) return field.WrongKind("the name or address of a host, and a port");
  return field.node().text;
}

absl::StatusOr<ControllerConfig> ReadController(const Field& field) {
  ControllerConfig controller;
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "controller", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(
      section.Required("address", "the controller's host and port, such as \"example.org:7444\"",
                       ReadControllerAddress, controller.address));
  POSTERN_RETURN_IF_ERROR(section.Required("ca", "the file with the authority of the controller",
                                           ReadCredentialPath, controller.ca));
  POSTERN_RETURN_IF_ERROR(
      section.Optional("join_token_file", ReadCredentialPath, controller.join_token_file));
  return controller;
}

absl::StatusOr<Config> ReadFile(const YamlNode& root) {
  Config config;
  if (root.kind == YamlNode::Kind::kScalar) {
    return root.Error(absl::StrCat("a \"key: value\" is wanted here, not ", Quoted(root.text),
                                   "; a colon needs a space after it"));
  }
  if (root.kind != YamlNode::Kind::kMapping) {
    return root.Error("the file wants keys such as \"mode: enforce\", not a list");
  }
  POSTERN_ASSIGN_OR_RETURN(const Section file, Section::Open(Field(root, ""), "", AgentKeys()));
  POSTERN_RETURN_IF_ERROR(file.Optional("mode", ReadMode, config.mode));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "guard", [&config](const Field& field) { return ReadGuard(field, config); }, config));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "limits", [&config](const Field& field) { return ReadLimits(field, config.limits); },
      config.limits));
  POSTERN_RETURN_IF_ERROR(file.Optional("on_expiry", ReadOnExpiry, config.limits.on_expiry));
  POSTERN_RETURN_IF_ERROR(file.Optional("state_dir", ReadPath, config.state_dir));
  POSTERN_RETURN_IF_ERROR(file.Optional("socket", ReadSocket, config.socket));
  POSTERN_RETURN_IF_ERROR(file.Optional("metrics_socket", ReadSocket, config.metrics_socket));
  POSTERN_RETURN_IF_ERROR(file.Optional("listen", ReadListen, config.listen));
  POSTERN_RETURN_IF_ERROR(file.Optional("controller", ReadController, config.controller));
  return config;
}

bool Holds(const std::vector<uint16_t>& ports, uint16_t port) {
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

absl::Status CheckAllowedPorts(const YamlNode& root, const Limits& limits) {
  for (size_t i = 0; i < limits.allowed_ports.size(); ++i) {
    if (Holds(limits.guarded_ports, limits.allowed_ports[i])) continue;
    const YamlNode& node = root.Find("limits")->Find("allowed_ports")->items[i];
    return node.Error(absl::StrCat("limits.allowed_ports lists ", limits.allowed_ports[i],
                                   ", which is not guarded; guard.ports lists ",
                                   absl::StrJoin(limits.guarded_ports, ", ")));
  }
  return absl::OkStatus();
}

absl::Status CheckListen(const YamlNode& root, const Config& config) {
  const ListenConfig& listen = *config.listen;
  const YamlNode& node = *root.Find("listen");
  if (Holds(config.limits.guarded_ports, listen.port)) {
    return node.Find("address")->Error(
        absl::StrCat("listen.address has port ", listen.port,
                     ", which guard.ports lists; listen on another port"));
  }
  // The IPv6 wildcard takes both families.
  const bool takes_both = listen.address == Address{.family = Family::kIpv6};
  const bool reachable =
      takes_both || std::any_of(listen.from.begin(), listen.from.end(), [&](const Prefix& prefix) {
        return prefix.family() == listen.address.family;
      });
  if (!reachable) {
    const absl::string_view family = listen.address.family == Family::kIpv4 ? "IPv4" : "IPv6";
    return node.Find("from")->Error(absl::StrCat(
        "listen.from has no ", family, " prefix, so nobody could reach ", listen.address.ToString(),
        "; add one, or listen on \"[::]:", listen.port, "\""));
  }
  return absl::OkStatus();
}

absl::Status CheckSockets(const YamlNode& root, const Config& config) {
  if (config.metrics_socket != config.socket) return absl::OkStatus();
  return root.Find("metrics_socket")
      ->Error(absl::StrCat("metrics_socket is ", Quoted(config.metrics_socket),
                           ", as socket is; name another path"));
}

}  // namespace

absl::StatusOr<Config> Decode(const YamlNode& root) {
  if (root.kind == YamlNode::Kind::kNull) return Config{};
  POSTERN_ASSIGN_OR_RETURN(Config config, ReadFile(root));
  POSTERN_RETURN_IF_ERROR(CheckAllowedPorts(root, config.limits));
  POSTERN_RETURN_IF_ERROR(CheckSockets(root, config));
  if (config.listen.has_value()) POSTERN_RETURN_IF_ERROR(CheckListen(root, config));
  return config;
}

}  // namespace postern
