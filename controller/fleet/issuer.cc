#include "controller/fleet/issuer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/config/files.h"
#include "common/pki/request.h"
#include "common/status.h"

namespace postern::controller {
namespace {

constexpr size_t kMaxPemBytes = size_t{1} << 20;
constexpr absl::Duration kServerLifetime = absl::Hours(90 * 24);
constexpr absl::string_view kUriStart = "spiffe://postern/vm/";
constexpr mode_t kReadableByAll = 0644;
constexpr mode_t kSecret = 0600;

absl::StatusOr<std::string> ContentOf(const std::string& path) {
  POSTERN_ASSIGN_OR_RETURN(FileContent file, ReadSmallFile(path, kMaxPemBytes));
  return std::move(file.bytes);
}

// The key first: a certificate without its key would look whole.
absl::Status WritePair(const PemPair& pair, const std::string& cert, const std::string& key) {
  POSTERN_RETURN_IF_ERROR(ReplaceFile(key, pair.key, kSecret));
  return ReplaceFile(cert, pair.certificate, kReadableByAll);
}

}  // namespace

std::string UriOf(const VmId& vm) {
  return absl::StrCat(kUriStart, vm.subscription, "/", vm.resource_group, "/", vm.name);
}

absl::StatusOr<VmId> VmOfUri(absl::string_view uri) {
  constexpr size_t kMaxNameBytes = 90;
  const std::vector<std::string> parts = absl::StrSplit(absl::StripPrefix(uri, kUriStart), '/');
  if (!absl::StartsWith(uri, kUriStart) || parts.size() != 3) {
    return absl::UnauthenticatedError("the certificate names no virtual machine");
  }
  VmId vm{.resource_group = parts[1], .name = parts[2]};
  POSTERN_ASSIGN_OR_RETURN(vm.subscription, ParseSubscription(parts[0]));
  POSTERN_RETURN_IF_ERROR(CheckName("resource group", vm.resource_group, kMaxNameBytes));
  POSTERN_RETURN_IF_ERROR(CheckName("virtual machine", vm.name, kMaxNameBytes));
  return vm;
}

absl::StatusOr<std::unique_ptr<Issuer>> Issuer::Open(IssuerOptions options, absl::Time now) {
  std::unique_ptr<Issuer> issuer(new Issuer(std::move(options)));
  const std::string& directory = issuer->options_.directory;
  issuer->files_ = {.cert = absl::StrCat(directory, "/server.pem"),
                    .key = absl::StrCat(directory, "/server.key"),
                    .ca = absl::StrCat(directory, "/ca.pem")};
  TlsFiles authority = {
      .cert = issuer->files_.ca, .key = absl::StrCat(directory, "/ca.key"), .ca = {}};
  if (issuer->options_.authority) {
    authority = *issuer->options_.authority;
    // Beside the others, for whoever configures agents and clients.
    POSTERN_ASSIGN_OR_RETURN(const std::string pem, ContentOf(authority.cert));
    POSTERN_RETURN_IF_ERROR(ReplaceFile(issuer->files_.ca, pem, kReadableByAll));
  } else if (absl::IsNotFound(ContentOf(authority.cert).status())) {
    POSTERN_ASSIGN_OR_RETURN(const PemPair made, MakeAuthority(now));
    POSTERN_RETURN_IF_ERROR(WritePair(made, authority.cert, authority.key));
  }
  POSTERN_ASSIGN_OR_RETURN(issuer->authorities_, ContentOf(authority.cert));
  POSTERN_ASSIGN_OR_RETURN(const std::string key, ContentOf(authority.key));
  POSTERN_ASSIGN_OR_RETURN(issuer->authority_, ReadAuthority(issuer->authorities_, authority.cert,
                                                             key, authority.key, now));
  POSTERN_RETURN_IF_ERROR(issuer->RefreshServerCertificate(now));
  return issuer;
}

absl::Status Issuer::RefreshServerCertificate(absl::Time now) {
  const std::string names_file = absl::StrCat(options_.directory, "/server.names");
  const std::string names = absl::StrJoin(options_.names, "\n");
  const absl::StatusOr<std::string> present = ContentOf(files_.cert);
  const absl::StatusOr<std::string> present_names = ContentOf(names_file);
  if (present.ok() && present_names.ok() && *present_names == names) {
    const absl::StatusOr<CertificateFacts> facts = FactsOf(*present);
    if (facts.ok() && facts->end - now > (facts->end - facts->begin) / 3) return absl::OkStatus();
  }
  const LeafSpec spec = {.common_name = "postern-controller",
                         .uri = "spiffe://postern/controller/postern-controller",
                         .addresses = options_.names,
                         .serves = true,
                         .lifetime = kServerLifetime};
  POSTERN_ASSIGN_OR_RETURN(const PemPair pair, IssueLeaf(authority_, spec, now));
  POSTERN_RETURN_IF_ERROR(WritePair(pair, files_.cert, files_.key));
  return ReplaceFile(names_file, names, kReadableByAll);
}

absl::StatusOr<IssuedCertificate> Issuer::Issue(const VmId& vm, const std::string& request,
                                                absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(const KeyPtr key, KeyOfRequest(request));
  const LeafSpec spec = {.common_name = vm.name.substr(0, 64),
                         .uri = UriOf(vm),
                         .addresses = {},
                         .calls = true,
                         .lifetime = options_.lifetime};
  IssuedCertificate issued;
  POSTERN_ASSIGN_OR_RETURN(issued.pem, SignLeaf(authority_, key.get(), spec, now));
  POSTERN_ASSIGN_OR_RETURN(const CertificateFacts facts, FactsOf(issued.pem));
  issued.serial = facts.serial;
  issued.expires = facts.end;
  return issued;
}

}  // namespace postern::controller
