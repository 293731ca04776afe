#include "common/tls/tls_files.h"

#include <openssl/err.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/config/pem_files.h"

namespace postern {
namespace {

using testing::EndsWith;

const absl::Time kEnd =
    absl::FromCivil(absl::CivilSecond(2031, 5, 6, 7, 8, 9), absl::UTCTimeZone());
const absl::Time kNow = kEnd - absl::Hours(24);

class TlsFilesTest : public testing::Test {
 protected:
  TlsFilesTest() : pair_(MakeKeyPair(kEnd)) {
    cert_ = dir_.Write("cert.pem", pair_.cert, 0644);
    key_ = dir_.Write("key.pem", pair_.key);
  }
  // What is left of another's error must not be taken for ours.
  ~TlsFilesTest() override { EXPECT_EQ(ERR_peek_error(), 0U); }

  std::string CertificateError(const std::string& content) {
    const std::string path = dir_.Write("other.pem", content, 0644);
    return std::string(CheckCertificate(path).message());
  }
  std::string KeyError(const std::string& content, mode_t mode = 0600) {
    return std::string(CheckKey(dir_.Write("other.key", content, mode), cert_).message());
  }

  TestDirectory dir_;
  KeyPair pair_;
  std::string cert_;
  std::string key_;
};

TEST_F(TlsFilesTest, TakesWhatFits) {
  EXPECT_EQ(CheckCertificate(cert_), absl::OkStatus());
  EXPECT_EQ(CheckKey(key_, cert_), absl::OkStatus());
  EXPECT_EQ(CheckAuthorities(cert_), absl::OkStatus());
}

TEST_F(TlsFilesTest, WarnsOfExpiredCertificates) {
  const TlsFiles files{.cert = cert_, .key = key_, .ca = cert_};
  EXPECT_THAT(ExpiryWarnings(files, kNow), testing::IsEmpty());
  EXPECT_THAT(
      ExpiryWarnings(files, kEnd),
      testing::ElementsAre(
          EndsWith("cert.pem: the certificate expired on 2031-05-06T07:08:09+00:00; renew it"),
          EndsWith("cert.pem: the authority's certificate expired on "
                   "2031-05-06T07:08:09+00:00; renew it")));
}

TEST_F(TlsFilesTest, WarnsOfCertificatesThatShouldHaveBeenRenewed) {
  const TlsFiles files{.cert = cert_, .key = key_, .ca = cert_};
  EXPECT_THAT(ExpiryWarnings(files, kEnd - absl::Minutes(1)),
              testing::Contains(EndsWith(
                  "cert.pem: the certificate expires on 2031-05-06T07:08:09+00:00; renew it")));
}

TEST_F(TlsFilesTest, OneGoodAuthorityIsEnough) {
  const std::string both = absl::StrCat(pair_.cert, MakeKeyPair(kNow - absl::Hours(1)).cert);
  const TlsFiles files{.cert = cert_, .key = key_, .ca = dir_.Write("ca.pem", both)};
  EXPECT_EQ(CheckAuthorities(files.ca), absl::OkStatus());
  EXPECT_THAT(ExpiryWarnings(files, kNow), testing::IsEmpty());
}

TEST_F(TlsFilesTest, RefusesWhatIsNoCertificate) {
  EXPECT_THAT(CertificateError("hello"), EndsWith("there is no certificate in this file; it wants "
                                                  "one in PEM form, \"-----BEGIN "
                                                  "CERTIFICATE-----\""));
  EXPECT_THAT(CertificateError(pair_.key), EndsWith("\"-----BEGIN CERTIFICATE-----\""));
  EXPECT_THAT(CertificateError(pair_.cert.substr(0, 200)),
              testing::ContainsRegex("certificate 1 in this file is damaged \\(.+\\)"));
  EXPECT_THAT(CertificateError(pair_.cert + pair_.cert.substr(0, 200)),
              testing::ContainsRegex("certificate 2 in this file is damaged \\(.+\\)"));
  EXPECT_THAT(CertificateError(std::string((1 << 20) + 1, 'x')),
              EndsWith("the file has more than 1048576 bytes"));
}

TEST_F(TlsFilesTest, RefusesAKeyThatCannotServe) {
  EXPECT_THAT(KeyError(pair_.key, 0644),
              EndsWith("everybody may read this key (mode 0644); run chmod o-r"));
  EXPECT_THAT(KeyError(pair_.key, 0602),
              EndsWith("everybody may write it (mode 0602); run chmod o-w"));
  EXPECT_EQ(KeyError(pair_.key, 0640), "");
  EXPECT_THAT(KeyError(pair_.cert), EndsWith("\"-----BEGIN PRIVATE KEY-----\""));
  EXPECT_THAT(KeyError(MakeKeyPair().key), EndsWith("cert.pem (key values mismatch)"));
}

// OpenSSL would ask on the terminal.
TEST_F(TlsFilesTest, NeverAsksForAPassphrase) {
  EXPECT_THAT(KeyError(Encrypted(pair_)),
              EndsWith("this key needs a passphrase; store it without one, readable by root "
                       "alone"));
}

}  // namespace
}  // namespace postern
