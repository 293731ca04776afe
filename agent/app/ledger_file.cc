#include "agent/app/ledger_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace postern {
namespace {

constexpr char kLedgerFile[] = "ledger.db";
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

// A row that cannot be read is found here, and not by a daemon that would end with
// each start.
absl::StatusOr<std::unique_ptr<SqliteStore>> OpenAndRead(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<SqliteStore> store, SqliteStore::Open(path));
  const absl::StatusOr<StoredState> state = store->Load();
  if (!state.ok()) return Annotate(state.status(), absl::StrCat("reading ", path));
  return store;
}

}  // namespace

absl::StatusOr<OpenedLedger> OpenLedger(const std::string& state_dir, absl::Time now) {
  POSTERN_ASSIGN_OR_RETURN(const std::filesystem::path folder, MakeStateDir(state_dir));
  const std::string path = (folder / kLedgerFile).string();
  absl::StatusOr<std::unique_ptr<SqliteStore>> store = OpenAndRead(path);
  if (store.ok()) return OpenedLedger{.store = *std::move(store), .replaced = {}};
  if (!absl::IsDataLoss(store.status())) return store.status();
  const std::string aside =
      absl::StrCat(path, ".damaged-", absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone()));
  POSTERN_RETURN_IF_ERROR(Annotate(SetAside(path, aside), std::string(store.status().message())));
  OpenedLedger fresh;
  fresh.replaced = absl::StrCat(store.status().message(), "; it was kept as ", aside,
                                ", and an empty ledger was begun: no grant is live");
  POSTERN_ASSIGN_OR_RETURN(fresh.store, SqliteStore::Open(path));
  return fresh;
}

}  // namespace postern
