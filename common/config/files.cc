#include "common/config/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/fd.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kMaxDropIns = 256;

absl::Status RefuseWorldWritable(const std::string& path, mode_t mode) {
  if ((mode & S_IWOTH) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: everybody may write it (mode %04o); run chmod o-w", Printable(path), mode & 07777));
}

absl::Status CannotOpen(const std::string& path, int error_number) {
  absl::string_view remedy;
  if (error_number == ENOENT) remedy = "; put it there or correct the path";
  if (error_number == EACCES) remedy = "; let the user that runs posternd read it";
  const absl::Status status = ErrnoStatus(error_number, Printable(path));
  return absl::Status(status.code(), absl::StrCat(status.message(), remedy));
}

absl::Status WriteDurably(const std::string& path, absl::string_view text, mode_t mode) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (file.get() < 0) return ErrnoStatus(errno, absl::StrCat("making ", Printable(path)));
  // What an earlier try left may have another mode.
  if (fchmod(file.get(), mode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("making ", Printable(path)));
  }
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

absl::StatusOr<FileContent> ReadSmallFile(const std::string& path, size_t max_bytes) {
  const std::string shown = Printable(path);
  // Without O_NONBLOCK, opening a FIFO waits for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return CannotOpen(path, errno);
  const absl::Cleanup close_it = [fd] { close(fd); };

  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, shown);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(shown, ": this is not a regular file"));
  }
  POSTERN_RETURN_IF_ERROR(RefuseWorldWritable(path, info.st_mode));

  FileContent content{.bytes = {}, .mode = info.st_mode};
  // Piece by piece: room for the largest file would be kept with the smallest.
  std::array<char, 4096> piece;
  while (content.bytes.size() <= max_bytes) {
    const ssize_t got = read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, shown);
    if (got == 0) return content;
    content.bytes.append(piece.data(), static_cast<size_t>(got));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(shown, ": the file has more than ", max_bytes, " bytes"));
}

absl::Status ReplaceFile(const std::string& path, absl::string_view content, mode_t mode) {
  const std::string fresh = absl::StrCat(path, ".new");
  POSTERN_RETURN_IF_ERROR(WriteDurably(fresh, content, mode));
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("renaming ", Printable(fresh)));
  }
  return FlushFolder(path.substr(0, path.rfind('/')));
}

absl::StatusOr<std::vector<std::string>> ListDropIns(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  std::vector<std::string> names;
  if (dir == nullptr) {
    if (errno == ENOENT) return names;
    return ErrnoStatus(errno, Printable(directory));
  }
  struct stat info {};
  if (fstat(dirfd(dir.get()), &info) != 0) return ErrnoStatus(errno, Printable(directory));
  POSTERN_RETURN_IF_ERROR(RefuseWorldWritable(directory, info.st_mode));

  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const absl::string_view name = entry->d_name;
    if (name[0] == '.' || !absl::EndsWith(name, ".yaml")) continue;
    if (names.size() == kMaxDropIns) {
      return absl::InvalidArgumentError(absl::StrCat(Printable(directory), ": there are more than ",
                                                     kMaxDropIns, " files; join some"));
    }
    names.push_back(absl::StrCat(directory, "/", name));
  }
  if (errno != 0) return ErrnoStatus(errno, Printable(directory));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace postern
