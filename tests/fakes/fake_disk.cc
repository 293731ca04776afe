#include "tests/fakes/fake_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/match.h"

namespace postern {
namespace {

// What disks write at once or not at all.
constexpr size_t kSectorBytes = 512;

}  // namespace

struct FakeDisk::Vfs {
  struct Open {
    sqlite3_file base;
    FakeDisk* disk;
    // Owned here: SQLite knows no destructors.
    std::shared_ptr<File>* file;
    bool ignores_syncs;
    // As SQLite does it on Linux: the first sync of a journal that is new syncs the
    // folder as well.
    bool syncs_folder;
  };

  static Open& Of(sqlite3_file* file) { return *reinterpret_cast<Open*>(file); }
  static FakeDisk& Of(sqlite3_vfs* vfs) { return *static_cast<FakeDisk*>(vfs->pAppData); }

  static int Close(sqlite3_file* file) {
    delete Of(file).file;
    return SQLITE_OK;
  }

  static int Read(sqlite3_file* file, void* to, int size, sqlite3_int64 from) {
    const Open& open = Of(file);
    if (open.disk->stopped_) return SQLITE_IOERR_READ;
    const std::string& content = (*open.file)->content;
    const size_t begin = std::min(static_cast<size_t>(from), content.size());
    const size_t found = std::min(static_cast<size_t>(size), content.size() - begin);
    std::memset(to, 0, static_cast<size_t>(size));
    std::memcpy(to, content.data() + begin, found);
    return found == static_cast<size_t>(size) ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }

  static int Change(sqlite3_file* file, Edit edit, int failure) {
    const Open& open = Of(file);
    const Fate fate = open.disk->Next(/*may_be_done=*/true);
    if (fate.done) {
      Apply(edit, (*open.file)->content);
      (*open.file)->edits.push_back(std::move(edit));
    }
    return fate.failed ? failure : SQLITE_OK;
  }
  static int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 to) {
    if (Of(file).disk->full_ && !Of(file).disk->stopped_) return SQLITE_FULL;
    return Change(file,
                  {.offset = static_cast<size_t>(to),
                   .data = std::string(static_cast<const char*>(data), static_cast<size_t>(size))},
                  SQLITE_IOERR_WRITE);
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    return Change(file, {.offset = static_cast<size_t>(size), .data = std::nullopt},
                  SQLITE_IOERR_TRUNCATE);
  }

  static int Sync(sqlite3_file* file, int /*flags*/) {
    Open& open = Of(file);
    const Fate fate = open.disk->Next(/*may_be_done=*/false);
    if (fate.done && !open.ignores_syncs) {
      (*open.file)->synced = (*open.file)->content;
      (*open.file)->edits.clear();
      if (std::exchange(open.syncs_folder, false)) open.disk->synced_names_ = open.disk->names_;
    }
    return fate.failed ? SQLITE_IOERR_FSYNC : SQLITE_OK;
  }

  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    if (Of(file).disk->stopped_) return SQLITE_IOERR_FSTAT;
    *size = static_cast<sqlite3_int64>((*Of(file).file)->content.size());
    return SQLITE_OK;
  }

  // Nobody else opens the files.
  static int Lock(sqlite3_file* /*file*/, int /*level*/) { return SQLITE_OK; }
  static int CheckReservedLock(sqlite3_file* /*file*/, int* reserved) {
    *reserved = 0;
    return SQLITE_OK;
  }
  static int FileControl(sqlite3_file* /*file*/, int /*what*/, void* /*with*/) {
    return SQLITE_NOTFOUND;
  }
  // These two as SQLite has them on Linux.
  static int SectorSize(sqlite3_file* /*file*/) { return 4096; }
  static int Characteristics(sqlite3_file* /*file*/) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int OpenFile(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                      int* opened_with) {
    // Version 1: without shared memory, which nobody needs who locks out the others.
    static const sqlite3_io_methods methods = {.iVersion = 1,
                                               .xClose = Close,
                                               .xRead = Read,
                                               .xWrite = Write,
                                               .xTruncate = Truncate,
                                               .xSync = Sync,
                                               .xFileSize = FileSize,
                                               .xLock = Lock,
                                               .xUnlock = Lock,
                                               .xCheckReservedLock = CheckReservedLock,
                                               .xFileControl = FileControl,
                                               .xSectorSize = SectorSize,
                                               .xDeviceCharacteristics = Characteristics,
                                               .xShmMap = nullptr,
                                               .xShmLock = nullptr,
                                               .xShmBarrier = nullptr,
                                               .xShmUnmap = nullptr,
                                               .xFetch = nullptr,
                                               .xUnfetch = nullptr};
    FakeDisk& disk = Of(vfs);
    file->pMethods = nullptr;
    if (disk.stopped_) return SQLITE_CANTOPEN;
    std::shared_ptr<File> found;
    bool is_new = false;
    if (path == nullptr) {
      found = std::make_shared<File>();
    } else if (const auto it = disk.names_.find(path); it != disk.names_.end()) {
      found = it->second;
    } else if ((flags & SQLITE_OPEN_CREATE) == 0 || disk.Next(/*may_be_done=*/false).failed) {
      return SQLITE_CANTOPEN;
    } else {
      found = std::make_shared<File>();
      disk.names_[path] = found;
      is_new = true;
    }
    Open& open = Of(file);
    open.disk = &disk;
    open.file = new std::shared_ptr<File>(std::move(found));
    open.ignores_syncs = disk.ignored_ && path != nullptr && absl::EndsWith(path, *disk.ignored_);
    open.syncs_folder =
        is_new &&
        (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL)) != 0;
    file->pMethods = &methods;
    if (opened_with != nullptr) *opened_with = flags;
    return SQLITE_OK;
  }

  static int Delete(sqlite3_vfs* vfs, const char* path, int syncs_folder) {
    FakeDisk& disk = Of(vfs);
    if (disk.stopped_) return SQLITE_IOERR_DELETE;
    if (!disk.names_.contains(path)) return SQLITE_IOERR_DELETE_NOENT;
    const Fate fate = disk.Next(/*may_be_done=*/true);
    if (fate.done) disk.names_.erase(path);
    if (fate.failed) return SQLITE_IOERR_DELETE;
    if (syncs_folder != 0) disk.synced_names_ = disk.names_;
    return SQLITE_OK;
  }

  static int Access(sqlite3_vfs* vfs, const char* path, int /*flags*/, int* result) {
    if (Of(vfs).stopped_) return SQLITE_IOERR_ACCESS;
    const auto it = Of(vfs).names_.find(path);
    // As SQLite does it on Linux: a journal without a byte is none.
    *result = it != Of(vfs).names_.end() && !it->second->content.empty() ? 1 : 0;
    return SQLITE_OK;
  }

  static int FullPathname(sqlite3_vfs* /*vfs*/, const char* path, int size, char* full) {
    sqlite3_snprintf(size, full, "%s", path);
    return SQLITE_OK;
  }
  // The same in each run; a log's salts need no more than to differ from one another.
  static int Randomness(sqlite3_vfs* vfs, int size, char* bytes) {
    for (char& byte : std::span(bytes, static_cast<size_t>(size))) {
      byte = static_cast<char>(Of(vfs).salts_.Next());
    }
    return size;
  }
  static int Sleep(sqlite3_vfs* /*vfs*/, int microseconds) { return microseconds; }
  static int CurrentTime(sqlite3_vfs* /*vfs*/, double* julian_day) {
    *julian_day = 2'461'000;
    return SQLITE_OK;
  }
  static int GetLastError(sqlite3_vfs* /*vfs*/, int /*size*/, char* /*text*/) { return 0; }
};

FakeDisk::FakeDisk() : vfs_(std::make_unique<sqlite3_vfs>()), previous_(sqlite3_vfs_find(nullptr)) {
  vfs_->iVersion = 1;
  vfs_->szOsFile = sizeof(Vfs::Open);
  vfs_->mxPathname = 512;
  vfs_->zName = "fake-disk";
  vfs_->pAppData = this;
  vfs_->xOpen = Vfs::OpenFile;
  vfs_->xDelete = Vfs::Delete;
  vfs_->xAccess = Vfs::Access;
  vfs_->xFullPathname = Vfs::FullPathname;
  vfs_->xRandomness = Vfs::Randomness;
  vfs_->xSleep = Vfs::Sleep;
  vfs_->xCurrentTime = Vfs::CurrentTime;
  vfs_->xGetLastError = Vfs::GetLastError;
  sqlite3_vfs_register(vfs_.get(), /*makeDflt=*/1);
}

FakeDisk::~FakeDisk() {
  sqlite3_vfs_unregister(vfs_.get());
  sqlite3_vfs_register(previous_, /*makeDflt=*/1);
}

FakeDisk::Fate FakeDisk::Next(bool may_be_done) {
  if (stopped_) return {.done = false, .failed = true};
  if (stop_after_ && (*stop_after_)-- == 0) {
    stopped_ = true;
    return {.done = may_be_done, .failed = true};
  }
  if (failure_ && failure_->after-- == 0) {
    return {.done = std::exchange(failure_, std::nullopt)->done, .failed = true};
  }
  return {};
}

void FakeDisk::Apply(const Edit& edit, std::string& content) {
  if (!edit.data) {
    content.resize(edit.offset);
    return;
  }
  content.resize(std::max(content.size(), edit.offset + edit.data->size()));
  content.replace(edit.offset, edit.data->size(), *edit.data);
}

void FakeDisk::ApplyTorn(const Edit& edit, size_t percent, Random& random, std::string& content) {
  if (!edit.data) {
    if (random.Chance(percent)) Apply(edit, content);
    return;
  }
  for (size_t at = 0; at < edit.data->size();) {
    const size_t in_sector = kSectorBytes - (edit.offset + at) % kSectorBytes;
    const size_t size = std::min(in_sector, edit.data->size() - at);
    if (random.Chance(percent)) {
      Apply({.offset = edit.offset + at, .data = edit.data->substr(at, size)}, content);
    }
    at += size;
  }
}

void FakeDisk::Lose(File& file, Random& random) {
  static const std::vector<size_t> percents = {0, 10, 50, 90, 100};
  const size_t percent = random.Pick(percents);
  std::string content = file.synced;
  for (const Edit& edit : file.edits) ApplyTorn(edit, percent, random, content);
  file.content = std::move(content);
}

void FakeDisk::PowerOn(Random& random) {
  std::set<std::string> names;
  for (const Folder* folder : {&names_, &synced_names_}) {
    for (const auto& [name, file] : *folder) names.insert(name);
  }
  Folder left;
  for (const std::string& name : names) {
    const Folder& from = random.Chance(50) ? names_ : synced_names_;
    if (const auto it = from.find(name); it != from.end()) left.insert(*it);
  }
  names_ = std::move(left);
  for (auto& [name, file] : names_) Lose(*file, random);
  Continue();
}

void FakeDisk::Continue() {
  for (auto& [name, file] : names_) {
    file->synced = file->content;
    file->edits.clear();
  }
  synced_names_ = names_;
  stopped_ = false;
  stop_after_.reset();
  failure_.reset();
}

}  // namespace postern
