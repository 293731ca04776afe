#include "agent/config/config.h"

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/config/decode.h"
#include "common/config/files.h"
#include "common/config/yaml.h"
#include "common/status.h"
#include "common/text.h"
#include "common/tls/tls_files.h"

namespace postern {
namespace {

absl::StatusOr<YamlNode> LoadYaml(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxConfigBytes));
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return ErrnoStatus(error.value(), Printable(path));
  return ParseYaml(file.bytes, std::make_shared<const Source>(Source{
                                   .name = path, .directory = absolute.parent_path().string()}));
}

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

absl::StatusOr<YamlNode> LoadWithDropIns(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(YamlNode root, LoadYaml(path));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<std::string> drop_ins,
                           ListDropIns(absl::StrCat(path, ".d")));
  for (const std::string& drop_in : drop_ins) {
    absl::StatusOr<YamlNode> over = LoadYaml(drop_in);
    // NOT_FOUND is kept for `path` itself.
    if (absl::IsNotFound(over.status())) {
      return absl::InvalidArgumentError(over.status().message());
    }
    if (!over.ok()) return over.status();
    if (over->kind != YamlNode::Kind::kNull) Overlay(*std::move(over), root);
  }
  return root;
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const YamlNode root, LoadWithDropIns(path));
  POSTERN_ASSIGN_OR_RETURN(Config config, Decode(root));
  POSTERN_RETURN_IF_ERROR(CheckNamedFiles(root, config));
  return config;
}

absl::StatusOr<Config> LoadConfigWithoutCertificates(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(const YamlNode root, LoadWithDropIns(path));
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
