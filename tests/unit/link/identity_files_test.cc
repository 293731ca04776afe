#include "agent/link/identity_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "common/pki/authority.h"
#include "common/pki/request.h"
#include "tests/support/temporary_directory.h"

namespace postern {
namespace {

using testing::HasSubstr;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

struct Issued {
  std::string authority;
  std::string certificate;
  std::string key;
};

Issued Issue() {
  const PemPair root = *MakeAuthority(kNow);
  const Authority authority = *ReadAuthority(root.certificate, "ca.pem", root.key, "ca.key", kNow);
  const CertificateRequest request = *NewCertificateRequest();
  const KeyPtr key = *KeyOfRequest(request.request);
  const LeafSpec spec = {.common_name = "web-1",
                         .uri = "spiffe://postern/vm/a/b/web-1",
                         .addresses = {},
                         .calls = true,
                         .lifetime = absl::Hours(30)};
  return {.authority = root.certificate,
          .certificate = *SignLeaf(authority, key.get(), spec, kNow),
          .key = request.key};
}

TEST(IdentityFilesTest, WhatIsSavedIsLoaded) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(absl::IsNotFound(LoadIdentity(directory.Path("")).status()));
  const Issued issued = Issue();
  const absl::StatusOr<LinkIdentity> made =
      MakeIdentity(issued.certificate, issued.key, issued.authority);
  ASSERT_TRUE(made.ok()) << made.status();
  ASSERT_EQ(SaveIdentity(directory.Path(""), *made), absl::OkStatus());
  const absl::StatusOr<LinkIdentity> loaded = LoadIdentity(directory.Path(""));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->certificate, issued.certificate);
  EXPECT_EQ(loaded->key, issued.key);
  EXPECT_EQ(loaded->authorities, issued.authority);
  EXPECT_GT(loaded->renew_at, kNow + absl::Hours(19));
  EXPECT_LT(loaded->renew_at, kNow + absl::Hours(21));
  EXPECT_EQ(loaded->end, kNow + absl::Hours(30));
  struct stat file {};
  ASSERT_EQ(stat(directory.Path("controller-identity.pem").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST(IdentityFilesTest, ADamagedFileIsNamed) {
  const TemporaryDirectory directory;
  directory.Write("controller-identity.pem", "half");
  const absl::Status status = LoadIdentity(directory.Path("")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("enrol again"));
}

TEST(IdentityFilesTest, ACertificateForAnotherKeyIsRefused) {
  const Issued one = Issue();
  const Issued other = Issue();
  EXPECT_FALSE(MakeIdentity(one.certificate, other.key, one.authority).ok());
  EXPECT_FALSE(MakeIdentity("", one.key, one.authority).ok());
}

// gRPC takes no authority for all that the host trusts.
TEST(IdentityFilesTest, ACertificateWithoutAnAuthorityIsRefused) {
  const Issued issued = Issue();
  EXPECT_FALSE(MakeIdentity(issued.certificate, issued.key, "").ok());
}

TEST(KeyOfRequestTest, RefusesWhatShowsNoKey) {
  EXPECT_FALSE(KeyOfRequest("").ok());
  EXPECT_FALSE(KeyOfRequest(std::string(1 << 20, 'x')).ok());
  std::string request = NewCertificateRequest()->request;
  // Another signature, or none that can be read.
  request[request.size() / 2] = request[request.size() / 2] == 'A' ? 'B' : 'A';
  EXPECT_FALSE(KeyOfRequest(request).ok());
}

// OpenSSL's own answer is to ask at the terminal, and to wait there.
TEST(KeyOfRequestTest, AsksNobodyForAPassphrase) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(KeyOfRequest("-----BEGIN CERTIFICATE REQUEST-----\n"
                            "Proc-Type: 4,ENCRYPTED\n"
                            "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n"
                            "\n"
                            "AAAAAAAAAAAAAAAAAAAAAA==\n"
                            "-----END CERTIFICATE REQUEST-----\n")
                   .ok());
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace postern
