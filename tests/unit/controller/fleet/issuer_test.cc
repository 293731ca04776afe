#include "controller/fleet/issuer.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/config/files.h"
#include "common/pki/request.h"
#include "tests/support/temporary_directory.h"

namespace postern::controller {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr char kSubscription[] = "11111111-2222-3333-4444-555555555555";

std::unique_ptr<Issuer> OpenIn(const TemporaryDirectory& directory, absl::Time now = kNow,
                               const std::string& name = "localhost") {
  absl::StatusOr<std::unique_ptr<Issuer>> issuer = Issuer::Open({.directory = directory.Path(""),
                                                                 .authority = {},
                                                                 .lifetime = absl::Hours(720),
                                                                 .names = {name, "127.0.0.1"}},
                                                                now);
  EXPECT_TRUE(issuer.ok()) << issuer.status();
  return issuer.ok() ? *std::move(issuer) : nullptr;
}

std::string ServerSerial(const Issuer& issuer) {
  const absl::StatusOr<FileContent> file = ReadSmallFile(issuer.server_files().cert, 1 << 20);
  return FactsOf(file->bytes)->serial;
}

TEST(IssuerTest, TheAuthorityStaysAndTheServersCertificateIsRenewed) {
  const TemporaryDirectory directory;
  const std::unique_ptr<Issuer> first = OpenIn(directory);
  ASSERT_NE(first, nullptr);
  const std::string serial = ServerSerial(*first);
  const std::unique_ptr<Issuer> again = OpenIn(directory, kNow + absl::Hours(24));
  EXPECT_EQ(again->authorities(), first->authorities());
  EXPECT_EQ(ServerSerial(*again), serial);
  const std::unique_ptr<Issuer> renamed = OpenIn(directory, kNow + absl::Hours(24), "example.org");
  EXPECT_NE(ServerSerial(*renamed), serial);
  const std::string second = ServerSerial(*renamed);
  ASSERT_EQ(renamed->RefreshServerCertificate(kNow + absl::Hours(24 * 70)), absl::OkStatus());
  EXPECT_NE(ServerSerial(*renamed), second);
}

TEST(IssuerTest, IssuesForTheKeyThatAsks) {
  const TemporaryDirectory directory;
  const std::unique_ptr<Issuer> issuer = OpenIn(directory);
  const VmId vm = {.subscription = kSubscription, .resource_group = "Web", .name = "web-1"};
  const CertificateRequest request = *NewCertificateRequest();
  const absl::StatusOr<IssuedCertificate> issued = issuer->Issue(vm, request.request, kNow);
  ASSERT_TRUE(issued.ok()) << issued.status();
  EXPECT_EQ(issued->expires, kNow + absl::Hours(720));
  EXPECT_FALSE(issued->serial.empty());
  EXPECT_FALSE(issuer->Issue(vm, "", kNow).ok());
}

TEST(VmOfUriTest, IsTheWayBack) {
  const VmId vm = {.subscription = kSubscription, .resource_group = "Web", .name = "web-1"};
  const absl::StatusOr<VmId> back = VmOfUri(UriOf(vm));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->ToString(), vm.ToString());
  for (const char* uri : {"", "spiffe://postern/vm/", "spiffe://postern/controller/x",
                          "spiffe://postern/vm/x/Web/web-1",
                          "spiffe://postern/vm/11111111-2222-3333-4444-555555555555/Web/a/b",
                          "spiffe://other/vm/11111111-2222-3333-4444-555555555555/Web/web-1"}) {
    EXPECT_FALSE(VmOfUri(uri).ok()) << uri;
  }
}

}  // namespace
}  // namespace postern::controller
