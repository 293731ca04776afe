#include "common/tls/certificates.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/config/files.h"
#include "common/status.h"
#include "common/tls/tls_files.h"

namespace postern {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;

absl::StatusOr<Certificates> ReadCertificates(const TlsFiles& files) {
  POSTERN_RETURN_IF_ERROR(CheckCertificate(files.cert));
  POSTERN_RETURN_IF_ERROR(CheckKey(files.key, files.cert));
  POSTERN_RETURN_IF_ERROR(CheckAuthorities(files.ca));
  POSTERN_ASSIGN_OR_RETURN(FileContent cert, ReadSmallFile(files.cert, kMaxPemBytes));
  POSTERN_ASSIGN_OR_RETURN(FileContent key, ReadSmallFile(files.key, kMaxPemBytes));
  POSTERN_ASSIGN_OR_RETURN(FileContent ca, ReadSmallFile(files.ca, kMaxPemBytes));
  return Certificates{
      .cert = std::move(cert.bytes), .key = std::move(key.bytes), .ca = std::move(ca.bytes)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<CertificateSource>> CertificateSource::Open(
    const TlsFiles& files, std::function<void(const std::string&)> report) {
  std::unique_ptr<CertificateSource> source(new CertificateSource(files, std::move(report)));
  source->tried_ = source->ReadStamps();
  POSTERN_ASSIGN_OR_RETURN(Certificates certificates, ReadCertificates(files));
  source->current_ = {.certificates = std::make_shared<Certificates>(std::move(certificates)),
                      .generation = 1};
  return source;
}

CertificateSource::Current CertificateSource::Get() {
  std::string to_report;
  Current current;
  {
    const std::lock_guard lock(mutex_);
    // Before reading: a file that changes meanwhile shows as changed next time.
    const Stamps stamps = ReadStamps();
    if (stamps == tried_ && !read_again_) return current_;
    tried_ = stamps;
    read_again_ = false;
    absl::StatusOr<Certificates> certificates = ReadCertificates(files_);
    if (certificates.ok()) {
      problem_.clear();
      current_ = {.certificates = std::make_shared<Certificates>(*std::move(certificates)),
                  .generation = current_.generation + 1};
    } else {
      problem_ = absl::StrCat(
          "the certificate files are not taken as they are now, the ones "
          "before stay in use: ",
          certificates.status().message());
      to_report = problem_;
    }
    current = current_;
  }
  if (!to_report.empty()) report_(to_report);
  return current;
}

void CertificateSource::Use(const TlsFiles& files) {
  const std::lock_guard lock(mutex_);
  files_ = files;
  read_again_ = true;
}

std::string CertificateSource::problem() const {
  const std::lock_guard lock(mutex_);
  return problem_;
}

CertificateSource::Stamp CertificateSource::StampOf(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return {};
  return {static_cast<int64_t>(found.st_dev),
          static_cast<int64_t>(found.st_ino),
          static_cast<int64_t>(found.st_size),
          found.st_mtim.tv_sec,
          found.st_mtim.tv_nsec,
          found.st_ctim.tv_sec,
          found.st_ctim.tv_nsec};
}

CertificateSource::Stamps CertificateSource::ReadStamps() const {
  return {StampOf(files_.cert), StampOf(files_.key), StampOf(files_.ca)};
}

}  // namespace postern
