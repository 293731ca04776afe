#include "agent/config/last_gate.h"

#include <sys/stat.h>
#include <yaml-cpp/yaml.h>

#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 20;

std::string PathIn(const std::string& state_dir) { return absl::StrCat(state_dir, "/gate.yaml"); }

// In agent.yaml's own words, so that one parser reads both.
std::string Emit(const Config& config) {
  YAML::Emitter out;
  out << YAML::Comment("The gate that was in force last. Written by posternd; do not edit.");
  out << YAML::BeginMap;
  out << YAML::Key << "mode" << YAML::Value;
  out << (config.mode == Mode::kEnforce ? "enforce" : "observe");
  out << YAML::Key << "guard" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "ports" << YAML::Value << YAML::Flow << config.limits.guarded_ports;
  out << YAML::Key << "trusted_interfaces" << YAML::Value << YAML::Flow << YAML::DoubleQuoted
      << config.trusted_interfaces;
  out << YAML::Key << "always_allow" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const Prefix& prefix : config.always_allow) out << YAML::DoubleQuoted << prefix.ToString();
  out << YAML::EndSeq << YAML::EndMap << YAML::EndMap;
  return absl::StrCat(out.c_str(), "\n");
}

}  // namespace

absl::Status SaveLastGate(const Config& config) {
  return ReplaceFile(PathIn(config.state_dir), Emit(config), S_IRUSR | S_IWUSR);
}

absl::StatusOr<Config> ReadLastGate(const std::string& state_dir) {
  const std::string path = PathIn(state_dir);
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxBytes));
  return ParseConfig(file.bytes, path, state_dir);
}

}  // namespace postern
