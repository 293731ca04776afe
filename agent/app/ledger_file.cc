#include "agent/app/ledger_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kLedgerFile[] = "ledger.db";
constexpr char kAside[] = ".damaged-";
// With the database, its write-ahead log and what belongs to that.
constexpr const char* kSuffixes[] = {"", "-wal", "-shm"};

absl::StatusOr<std::filesystem::path> MakeStateDir(const std::string& state_dir) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(state_dir, error);
  if (error) {
    return ErrnoStatus(
        error.value(),
        absl::StrCat("making state_dir ", state_dir,
                     " (make it for posternd's user, or name another in agent.yaml)"));
  }
  if (made && chmod(state_dir.c_str(), S_IRWXU) != 0) {
    return ErrnoStatus(errno, absl::StrCat("closing state_dir ", state_dir, " to others"));
  }
  // SQLite follows no symbolic link to the ledger; state_dir itself may be one,
  // as systemd's StateDirectory= makes it.
  std::filesystem::path real = std::filesystem::canonical(state_dir, error);
  if (error) return ErrnoStatus(error.value(), absl::StrCat("resolving state_dir ", state_dir));
  return real;
}

absl::Status SetAside(const std::string& from, const std::string& to) {
  for (const char* suffix : kSuffixes) {
    std::error_code error;
    std::filesystem::rename(from + suffix, to + suffix, error);
    if (error && error != std::errc::no_such_file_or_directory) {
      return ErrnoStatus(error.value(), absl::StrCat("renaming ", from, suffix));
    }
  }
  return absl::OkStatus();
}

std::string KeptAside(absl::string_view why, absl::string_view aside) {
  return absl::StrCat(why, "; it was kept as ", aside,
                      ", and an empty ledger was begun: no grant is live");
}

// The last one that was set aside; "" where none was.
std::string LastAside(const std::string& path) {
  std::string last;
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().string();
    const bool is_aside = absl::StartsWith(name, absl::StrCat(path, kAside)) &&
                          !absl::EndsWith(name, "-wal") && !absl::EndsWith(name, "-shm");
    if (is_aside) last = std::max(last, name);
  }
  return last;
}

// A row that cannot be read is found here, and not by a daemon that would end with
// each start.
absl::StatusOr<OpenedLedger> OpenAndRead(const std::string& path) {
  OpenedLedger opened;
  POSTERN_ASSIGN_OR_RETURN(opened.store, SqliteStore::Open(path));
  const absl::StatusOr<StoredState> state = opened.store->Load();
  if (!state.ok()) return Annotate(state.status(), absl::StrCat("reading ", path));
  if (state->last_audit_number > 0) return opened;
  // Whoever set it aside may have ended before saying so.
  const std::string aside = LastAside(path);
  if (!aside.empty()) opened.replaced = KeptAside("the ledger was damaged", aside);
  return opened;
}

}  // namespace

absl::StatusOr<OpenedLedger> OpenLedger(const std::string& state_dir, absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const std::filesystem::path folder, MakeStateDir(state_dir));
  const std::string path = (folder / kLedgerFile).string();
  absl::StatusOr<OpenedLedger> opened = OpenAndRead(path);
  if (opened.ok() || !absl::IsDataLoss(opened.status())) return opened;
  const std::string why(opened.status().message());
  const std::string aside =
      absl::StrCat(path, kAside, absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()));
  POSTERN_RETURN_IF_ERROR(Annotate(SetAside(path, aside), why));
  OpenedLedger fresh{.store = nullptr, .replaced = KeptAside(why, aside)};
  absl::StatusOr<std::unique_ptr<SqliteStore>> store = SqliteStore::Open(path);
  if (!store.ok()) return Annotate(store.status(), fresh.replaced);
  fresh.store = *std::move(store);
  return fresh;
}

}  // namespace postern
