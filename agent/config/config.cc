#include "agent/config/config.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/config/decode.h"
#include "common/config/load.h"
#include "common/config/yaml.h"
#include "common/status.h"
#include "common/tls/tls_files.h"

namespace postern {
namespace {

// The message of `status` at the place of `node`, called `name`.
absl::Status Place(const absl::Status& status, const YamlNode& node, absl::string_view name) {
  if (status.ok()) return status;
  return node.Error(absl::StrCat(name, ": ", status.message()));
}

absl::Status CheckNamedFiles(const YamlNode& root, const Config& config) {
  if (config.listen.has_value()) {
    const YamlNode& node = *root.Find("listen")->Find("tls");
    const TlsFiles& tls = config.listen->tls;
    POSTERN_RETURN_IF_ERROR(
        Place(CheckCertificate(tls.cert), *node.Find("cert"), "listen.tls.cert"));
    POSTERN_RETURN_IF_ERROR(
        Place(CheckKey(tls.key, tls.cert), *node.Find("key"), "listen.tls.key"));
    POSTERN_RETURN_IF_ERROR(Place(CheckAuthorities(tls.ca), *node.Find("ca"), "listen.tls.ca"));
  }
  if (config.controller.has_value()) {
    const YamlNode& ca = *root.Find("controller")->Find("ca");
    POSTERN_RETURN_IF_ERROR(Place(CheckAuthorities(config.controller->ca), ca, "controller.ca"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const YamlNode root, LoadYamlWithDropIns(path));
  POSTERN_ASSIGN_OR_RETURN(Config config, Decode(root));
  POSTERN_RETURN_IF_ERROR(CheckNamedFiles(root, config));
  return config;
}

absl::StatusOr<Config> LoadConfigWithoutCertificates(const std::string& path) {
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

}  // namespace postern
