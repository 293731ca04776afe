#include "agent/config/last_gate.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/fd.h"
#include "common/status.h"
#include "common/text.h"

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

absl::Status WriteDurably(const std::string& path, const std::string& text) {
  const Fd file(
      open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (file.get() < 0) return ErrnoStatus(errno, absl::StrCat("making ", Printable(path)));
  // One write: the text is small, and a part of it is a failure.
  const ssize_t written = write(file.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(written < 0 ? errno : ENOSPC, absl::StrCat("writing ", Printable(path)));
  }
  if (fsync(file.get()) != 0) return ErrnoStatus(errno, absl::StrCat("flushing ", Printable(path)));
  return absl::OkStatus();
}

absl::Status FlushFolder(const std::string& folder) {
  const Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("flushing ", Printable(folder)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SaveLastGate(const Config& config) {
  const std::string path = PathIn(config.state_dir);
  const std::string fresh = absl::StrCat(path, ".new");
  POSTERN_RETURN_IF_ERROR(WriteDurably(fresh, Emit(config)));
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("renaming ", Printable(fresh)));
  }
  return FlushFolder(config.state_dir);
}

absl::StatusOr<Config> ReadLastGate(const std::string& state_dir) {
  const std::string path = PathIn(state_dir);
  POSTERN_ASSIGN_OR_RETURN(const FileContent file, ReadSmallFile(path, kMaxBytes));
  return ParseConfig(file.bytes, path, state_dir);
}

}  // namespace postern
