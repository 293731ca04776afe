#include "controller/config/config.h"

#include <libpq-fe.h>

#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/config/fields.h"
#include "common/config/load.h"
#include "common/config/yaml.h"
#include "common/status.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxNames = 32;
constexpr size_t kMaxNameBytes = 253;
constexpr size_t kMaxIssuers = 16;
constexpr size_t kMaxUrlBytes = 512;
constexpr size_t kMaxConninfoBytes = 1024;
constexpr absl::Duration kShortestLifetime = absl::Hours(1);
constexpr absl::Duration kLongestLifetime = absl::Hours(365 * 24);
constexpr absl::Duration kLongestKeep = absl::Hours(10 * 365 * 24);

// Every key of controller.yaml.
const ConfigKeys& Keys() {
  static const auto& keys = *new ConfigKeys{
      {"", {"rest", "agents", "names", "authority", "state_dir", "store", "oidc", "audit"}},
      {"rest", {"address", "public_url", "tls", "client_ca"}},
      {"rest.tls", {"cert", "key"}},
      {"agents", {"address", "certificate_lifetime"}},
      {"authority", {"cert", "key"}},
      {"store", {"postgres"}},
      {"oidc", {"issuer", "audience", "jwks", "principal"}},
      {"audit", {"keep"}},
  };
  return keys;
}

absl::StatusOr<BindAddress> ReadBindAddress(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(const HostPort endpoint, ReadHostPort(field));
  const absl::StatusOr<Address> address = Address::Parse(endpoint.host);
  if (!address.ok()) {
    return field.Error(absl::StrCat("wants an address of this host, such as \"[::]:8443\"; ",
                                    address.status().message()));
  }
  return BindAddress{.address = *address, .port = endpoint.port};
}

absl::StatusOr<std::string> ReadUrl(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::string url, ReadText(field, kMaxUrlBytes));
  if (!absl::StartsWith(url, "https://") || absl::EndsWith(url, "/") ||
      url.find_first_of(" ?#\"") != std::string::npos) {
    return field.WrongKind("\"https://HOST:PORT\" without a slash at its end");
  }
  return url;
}

absl::StatusOr<std::string> ReadName(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::string name, ReadText(field, kMaxNameBytes));
  constexpr char kHostName[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  if (!Address::Parse(name).ok() && name.find_first_not_of(kHostName) != std::string::npos) {
    return field.WrongKind("the name or the address of this host");
  }
  return name;
}

// `section` is "rest.tls" or "authority".
auto CertificateReader(absl::string_view section_name) {
  return [section_name](const Field& field) -> absl::StatusOr<CertificateFiles> {
    CertificateFiles files;
    POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, section_name, Keys()));
    POSTERN_RETURN_IF_ERROR(
        section.Required("cert", "the file with the certificate", ReadCredentialPath, files.cert));
    POSTERN_RETURN_IF_ERROR(
        section.Required("key", "the file with its key", ReadCredentialPath, files.key));
    return files;
  };
}

absl::StatusOr<Config> ReadRest(const Field& field, Config config) {
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "rest", Keys()));
  POSTERN_RETURN_IF_ERROR(section.Optional("address", ReadBindAddress, config.rest));
  POSTERN_RETURN_IF_ERROR(section.Optional("public_url", ReadUrl, config.public_url));
  POSTERN_RETURN_IF_ERROR(
      section.Optional("tls", CertificateReader("rest.tls"), config.rest_certificate));
  POSTERN_RETURN_IF_ERROR(section.Optional("client_ca", ReadCredentialPath, config.rest_client_ca));
  return config;
}

absl::StatusOr<Config> ReadAgents(const Field& field, Config config) {
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "agents", Keys()));
  POSTERN_RETURN_IF_ERROR(section.Optional("address", ReadBindAddress, config.agents));
  POSTERN_RETURN_IF_ERROR(section.Optional(
      "certificate_lifetime",
      [](const Field& value) { return ReadDuration(value, kShortestLifetime, kLongestLifetime); },
      config.agent_certificate_lifetime));
  return config;
}

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

// What libpq finds in it, however it is written. libpq's own words are not repeated
// where they may quote a password.
absl::StatusOr<std::string> ReadConninfo(const Field& field) {
  POSTERN_ASSIGN_OR_RETURN(std::string conninfo, ReadText(field, kMaxConninfoBytes));
  char* problem = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> options(
      PQconninfoParse(conninfo.c_str(), &problem));
  const std::unique_ptr<char, void (*)(void*)> owned(problem, PQfreemem);
  if (options == nullptr) {
    const bool secret =
        absl::StrContains(conninfo, "password") || absl::StrContains(conninfo, "://");
    return field.Error(absl::StrCat(
        "is not what libpq takes, such as \"host=/run/postgresql dbname=postern\"",
        secret ? "" : ": ",
        secret ? "" : absl::StripTrailingAsciiWhitespace(absl::NullSafeStringView(problem))));
  }
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr && absl::EndsWith(option->keyword, "password")) {
      return field.Error("holds a password; put it into a file and name that: passfile=FILE");
    }
  }
  return conninfo;
}

absl::StatusOr<std::string> ReadStore(const Field& field) {
  std::string postgres;
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "store", Keys()));
  POSTERN_RETURN_IF_ERROR(section.Required(
      "postgres", "how libpq reaches the database, such as \"host=/run/postgresql dbname=postern\"",
      ReadConninfo, postgres));
  return postgres;
}

absl::StatusOr<std::string> ReadJwks(const Field& field) {
  absl::StatusOr<std::string> text = ReadText(field, kMaxUrlBytes);
  if (!text.ok() || absl::StartsWith(*text, "https://")) return text;
  if (absl::StrContains(*text, "://")) return field.WrongKind("a file or an https URL");
  return ReadPath(field);
}

absl::StatusOr<OidcIssuer> ReadIssuer(const Field& field) {
  OidcIssuer issuer;
  const auto text = [](const Field& value) { return ReadText(value, kMaxUrlBytes); };
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "oidc", Keys()));
  POSTERN_RETURN_IF_ERROR(
      section.Required("issuer", "the \"iss\" of its tokens", text, issuer.issuer));
  POSTERN_RETURN_IF_ERROR(section.Required("audience", "the \"aud\" of tokens for this controller",
                                           text, issuer.audience));
  POSTERN_RETURN_IF_ERROR(
      section.Required("jwks", "its keys: a file or an https URL", ReadJwks, issuer.jwks));
  POSTERN_RETURN_IF_ERROR(section.Optional("principal", text, issuer.principal_claim));
  return issuer;
}

absl::StatusOr<absl::Duration> ReadAudit(const Field& field) {
  absl::Duration keep;
  POSTERN_ASSIGN_OR_RETURN(const Section section, Section::Open(field, "audit", Keys()));
  POSTERN_RETURN_IF_ERROR(section.Required(
      "keep", "how long it is kept, such as 400d",
      [](const Field& value) { return ReadDuration(value, absl::Hours(24), kLongestKeep); }, keep));
  return keep;
}

absl::StatusOr<Config> Decode(const YamlNode& root) {
  Config config;
  if (root.kind == YamlNode::Kind::kNull) return config;
  POSTERN_ASSIGN_OR_RETURN(const Section file, Section::Open(Field(root, ""), "", Keys()));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "rest", [&config](const Field& field) { return ReadRest(field, config); }, config));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "agents", [&config](const Field& field) { return ReadAgents(field, config); }, config));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "names", [](const Field& field) { return ReadList(field, 1, kMaxNames, ReadName); },
      config.names));
  POSTERN_RETURN_IF_ERROR(
      file.Optional("authority", CertificateReader("authority"), config.authority));
  POSTERN_RETURN_IF_ERROR(file.Optional("state_dir", ReadPath, config.state_dir));
  POSTERN_RETURN_IF_ERROR(file.Optional("store", ReadStore, config.postgres));
  POSTERN_RETURN_IF_ERROR(file.Optional(
      "oidc", [](const Field& field) { return ReadList(field, 1, kMaxIssuers, ReadIssuer); },
      config.oidc));
  POSTERN_RETURN_IF_ERROR(file.Optional("audit", ReadAudit, config.audit_keep));
  if (config.rest.port == config.agents.port) {
    return root.Error(absl::StrCat("rest and agents both have port ", config.rest.port,
                                   "; give them different ones"));
  }
  return config;
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const YamlNode root, LoadYamlWithDropIns(path));
  return Decode(root);
}

absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name,
                                   const std::string& directory) {
  POSTERN_ASSIGN_OR_RETURN(const YamlNode root,
                           ParseYaml(text, std::make_shared<const Source>(
                                               Source{.name = name, .directory = directory})));
  return Decode(root);
}

}  // namespace postern::controller
