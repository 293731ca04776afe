#include "common/config/load.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/status.h"
#include "common/text.h"

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

}  // namespace

absl::StatusOr<YamlNode> LoadYamlWithDropIns(const std::string& path) {
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

}  // namespace postern
