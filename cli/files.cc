#include "cli/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr size_t kMaxSmallFile = size_t{256} * 1024;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// A file that cannot be had is no missing grant, so NOT_FOUND is not its code.
absl::Status FileError(int error, absl::string_view path) {
  return absl::FailedPreconditionError(ErrnoStatus(error, Printable(path)).message());
}

absl::Status SyncDirectory(const std::string& directory) {
  const Descriptor fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || fsync(fd.get()) != 0) return FileError(errno, directory);
  return absl::OkStatus();
}

absl::Status WriteAll(int fd, absl::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write");
    content.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status AlreadyThere(const std::string& path) {
  return absl::AlreadyExistsError(
      absl::StrCat(Printable(path),
                   " is already there and is never overwritten; move it away or use another "
                   "name or directory"));
}

}  // namespace

absl::StatusOr<SmallFile> ReadSmallFile(const std::string& path) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat facts {};
  if (fd.get() < 0 || fstat(fd.get(), &facts) != 0) return FileError(errno, path);
  SmallFile file;
  file.readable_by_others = S_ISREG(facts.st_mode) && (facts.st_mode & (S_IRGRP | S_IROTH)) != 0;
  char buffer[4096];
  for (;;) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, path);
    if (got == 0) return file;
    file.content.append(buffer, static_cast<size_t>(got));
    if (file.content.size() > kMaxSmallFile) {
      return absl::FailedPreconditionError(absl::StrCat(Printable(path), " has more than ",
                                                        kMaxSmallFile,
                                                        " bytes; that is no certificate or key"));
    }
  }
}

absl::Status WriteNewFile(const std::string& path, absl::string_view content, mode_t mode) {
  const std::string directory = DirectoryOf(path);
  std::string temporary = absl::StrCat(directory, "/.postern-XXXXXX");
  // mkostemp makes it 0600, so a key is never readable by others on its way.
  const Descriptor fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (fd.get() < 0) {
    return Annotate(FileError(errno, directory), "cannot write there");
  }
  absl::Status status = WriteAll(fd.get(), content);
  if (status.ok() && (fchmod(fd.get(), mode) != 0 || fsync(fd.get()) != 0)) {
    status = FileError(errno, "write");
  }
  // link(2), unlike rename(2), never replaces what is there.
  if (status.ok() && link(temporary.c_str(), path.c_str()) != 0) {
    status = errno == EEXIST ? AlreadyThere(path) : FileError(errno, "link");
  }
  unlink(temporary.c_str());
  if (absl::IsAlreadyExists(status)) return status;
  POSTERN_RETURN_IF_ERROR(Annotate(status, Printable(path)));
  status = SyncDirectory(directory);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

absl::Status WriteNewPair(const NewFile& first, const NewFile& second) {
  // Asked beforehand so that the usual refusal touches nothing at all.
  for (const NewFile* file : {&first, &second}) {
    struct stat facts {};
    if (lstat(file->path.c_str(), &facts) == 0) return AlreadyThere(file->path);
  }
  POSTERN_RETURN_IF_ERROR(WriteNewFile(first.path, first.content, first.mode));
  absl::Status status = WriteNewFile(second.path, second.content, second.mode);
  if (!status.ok()) unlink(first.path.c_str());
  return status;
}

absl::Status EnsureDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0) return SyncDirectory(DirectoryOf(path));
  const int error = errno;
  struct stat facts {};
  if (error == EEXIST && stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode)) {
    return absl::OkStatus();
  }
  return FileError(error == EEXIST ? ENOTDIR : error, path);
}

}  // namespace postern
