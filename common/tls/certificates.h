// The server's certificate, key and authorities, read again when they change.

#ifndef POSTERN_COMMON_TLS_CERTIFICATES_H_
#define POSTERN_COMMON_TLS_CERTIFICATES_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "common/tls/tls_files.h"

namespace postern {

// PEM texts that fit together.
struct Certificates {
  std::string cert;
  std::string key;
  std::string ca;
};

// Any thread.
class CertificateSource {
 public:
  // `report` is told, once for each new state of the files, why they are not
  // taken; it may be called from any thread.
  static absl::StatusOr<std::unique_ptr<CertificateSource>> Open(
      const TlsFiles& files, std::function<void(const std::string&)> report);

  struct Current {
    std::shared_ptr<const Certificates> certificates;
    // Another number for other content.
    uint64_t generation = 0;
  };
  // The files as they are now; what was there before while they cannot be used.
  // Costs three stat(2) calls when nothing has changed.
  Current Get();

  // Reads other files from now on, or the same ones again.
  void Use(const TlsFiles& files);

  // Why the files are not taken as they are now; empty when they are.
  std::string problem() const;

 private:
  // What tells that a file has changed: device, inode, size, and the times of the
  // last change of content and of inode; zeros where there is none.
  using Stamp = std::array<int64_t, 7>;
  using Stamps = std::array<Stamp, 3>;

  CertificateSource(TlsFiles files, std::function<void(const std::string&)> report)
      : report_(std::move(report)), files_(std::move(files)) {}

  static Stamp StampOf(const std::string& path);
  Stamps ReadStamps() const;

  const std::function<void(const std::string&)> report_;
  mutable std::mutex mutex_;
  TlsFiles files_;
  bool read_again_ = false;
  Stamps tried_{};
  Current current_;
  std::string problem_;
};

}  // namespace postern

#endif  // POSTERN_COMMON_TLS_CERTIFICATES_H_
