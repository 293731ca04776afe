// pki init, agent, controller, client.

#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "cli/verbs.h"
#include "common/pki/authority.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr mode_t kKeyMode = 0600;
constexpr mode_t kCertificateMode = 0644;

std::string InDirectory(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, directory.back() == '/' ? "" : "/", name);
}

// The path segment of the holder's URI; for those who call, it is their role.
std::string KindWord(CertificateKind kind) {
  switch (kind) {
    case CertificateKind::kAgent:
      return "agent";
    case CertificateKind::kController:
      return "controller";
    case CertificateKind::kOperator:
      return "operator";
    default:
      return "viewer";
  }
}

absl::StatusOr<Authority> AuthorityIn(const std::string& directory, Session& session) {
  const std::string certificate_path = InDirectory(directory, "ca.pem");
  const std::string key_path = InDirectory(directory, "ca.key");
  if (access(certificate_path.c_str(), F_OK) != 0 && errno == ENOENT) {
    return absl::FailedPreconditionError(absl::StrCat(
        "there is no ", Printable(certificate_path),
        "; make the authority first: posternctl pki init --dir ", Printable(directory)));
  }
  POSTERN_ASSIGN_OR_RETURN(const SmallFile certificate, ReadSmallFile(certificate_path));
  POSTERN_ASSIGN_OR_RETURN(const SmallFile key, ReadSmallFile(key_path));
  if (key.readable_by_others) {
    session.Say(
        absl::StrCat("warning: ", Printable(key_path), " can be read by others; chmod 600 it"));
  }
  return ReadAuthority(certificate.content, certificate_path, key.content, key_path,
                       session.environment().now());
}

absl::Status Init(const PkiInitCommand& command, Session& session) {
  const NewFile certificate = {
      .path = InDirectory(command.directory, "ca.pem"), .content = "", .mode = kCertificateMode};
  POSTERN_ASSIGN_OR_RETURN(const PemPair pair, MakeAuthority(session.environment().now()));
  POSTERN_RETURN_IF_ERROR(EnsureDirectory(command.directory));
  const std::string key_path = InDirectory(command.directory, "ca.key");
  POSTERN_RETURN_IF_ERROR(WriteNewPair(
      {.path = key_path, .content = pair.key, .mode = kKeyMode},
      {.path = certificate.path, .content = pair.certificate, .mode = certificate.mode}));
  const std::string words = absl::StrCat("certificate  ", Printable(certificate.path),
                                         "\nkey          ", Printable(key_path), "\n");
  session.PrintFacts({{"certificate", certificate.path}, {"key", key_path}}, words);
  session.Say(absl::StrCat(Printable(key_path), " opens every door: keep it off the VMs"));
  return absl::OkStatus();
}

// What agent.yaml says about the holder of the certificate: whom an agent lets
// in under peers, or what the agent itself serves with.
std::string ConfigurationLine(const PkiIssueCommand& command, const std::string& uri) {
  if (command.kind == CertificateKind::kAgent) {
    return absl::StrCat("tls: {cert: ", command.name, ".pem, key: ", command.name,
                        ".key, ca: ca.pem}");
  }
  return absl::StrCat("- {san: \"", uri, "\", role: ", KindWord(command.kind), "}");
}

// What the certificate is made for. What a client may do is the agents' to say,
// and can change while the certificate stays.
const char* HolderWord(CertificateKind kind) {
  if (kind == CertificateKind::kAgent) return "agent";
  return kind == CertificateKind::kController ? "controller" : "client";
}

absl::Status Issue(const PkiIssueCommand& command, Session& session) {
  POSTERN_ASSIGN_OR_RETURN(const Authority authority, AuthorityIn(command.directory, session));
  const bool is_agent = command.kind == CertificateKind::kAgent;
  const std::string uri =
      absl::StrCat("spiffe://postern/", HolderWord(command.kind), "/", command.name);
  const absl::Time now = session.environment().now();
  const absl::Duration lifetime = absl::Hours(24) * command.days;
  POSTERN_ASSIGN_OR_RETURN(
      const PemPair pair,
      IssueLeaf(authority,
                {.common_name = command.name,
                 .uri = uri,
                 .addresses = command.addresses,
                 .serves = is_agent || command.kind == CertificateKind::kController,
                 .calls = !is_agent,
                 .lifetime = lifetime},
                now));
  const std::string certificate = InDirectory(command.directory, command.name + ".pem");
  const std::string key = InDirectory(command.directory, command.name + ".key");
  POSTERN_RETURN_IF_ERROR(
      WriteNewPair({.path = key, .content = pair.key, .mode = kKeyMode},
                   {.path = certificate, .content = pair.certificate, .mode = kCertificateMode}));

  const std::string line = ConfigurationLine(command, uri);
  const std::string expires = DescribeTime(now + lifetime, session.reader());
  session.PrintFacts(
      {{"certificate", certificate},
       {"key", key},
       {"san", uri},
       {"expires", expires},
       {"agent_yaml", line}},
      absl::StrCat("certificate  ", Printable(certificate), "\nkey          ", Printable(key),
                   "\nsan          ", uri, "\nexpires      ", expires, "\nagent.yaml   ",
                   is_agent ? "listen:" : "peers:", "\n  ", line, "\n"));
  if (is_agent && command.addresses.empty()) {
    session.Say(
        "warning: without an --address no client can tell that it reached this agent by name or "
        "address");
  }
  return absl::OkStatus();
}

}  // namespace

int Do(const PkiInitCommand& command, Session& session) {
  const absl::Status status = Init(command, session);
  return status.ok() ? kExitDone : session.Fail(status);
}

int Do(const PkiIssueCommand& command, Session& session) {
  const absl::Status status = Issue(command, session);
  return status.ok() ? kExitDone : session.Fail(status);
}

}  // namespace postern
