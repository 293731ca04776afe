// The verbs of the small certificate authority.

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "cli/grammar.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr int kMaxDays = 3650;

absl::Status CheckName(const std::string& name) {
  constexpr size_t kMaxName = 64;
  const bool known = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
  });
  if (!name.empty() && name.size() <= kMaxName && known && name[0] != '.' && name != "ca") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--name: \"", Printable(absl::string_view(name).substr(0, kMaxName)),
                   "\" will not do; use 1 to 64 letters, digits, dots, underscores and hyphens, "
                   "not beginning with a dot, and not \"ca\""));
}

struct IssueOptions {
  std::string directory;
  std::string name;
  std::vector<std::string> addresses;
  std::string role = "viewer";
  std::string days = "825";
};

absl::StatusOr<Command> BuildIssue(const IssueOptions& options, CertificateKind kind) {
  PkiIssueCommand command;
  command.directory = options.directory;
  command.kind = kind;
  if (options.role != "viewer" && options.role != "operator") {
    return absl::InvalidArgumentError("--role: write viewer or operator");
  }
  if (kind == CertificateKind::kViewer && options.role == "operator") {
    command.kind = CertificateKind::kOperator;
  }
  POSTERN_RETURN_IF_ERROR(CheckName(options.name));
  command.name = options.name;
  for (const std::string& address : options.addresses) {
    if (!Address::Parse(address).ok() && !IsDnsName(address)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--address: \"", Printable(absl::string_view(address).substr(0, 80)),
                       "\" is neither an IP address nor a DNS name"));
    }
    command.addresses.push_back(address);
  }
  const bool digits = options.days.find_first_not_of("0123456789") == std::string::npos;
  if (!digits || !absl::SimpleAtoi(options.days, &command.days) || command.days < 1 ||
      command.days > kMaxDays) {
    return absl::InvalidArgumentError(absl::StrCat("--days: write a number from 1 to ", kMaxDays));
  }
  return command;
}

void AddDirectory(CLI::App& verb, std::string& into) {
  AddValue(verb, "--dir", into, "DIR", "Where ca.pem and ca.key are")->required();
}

Verb AddInit(CLI::App& pki) {
  auto directory = std::make_shared<std::string>();
  CLI::App* verb = AddVerb(pki, "init", "Make the authority: ca.pem and ca.key, good for 10 years",
                           "  posternctl pki init --dir pki");
  AddDirectory(*verb, *directory);
  return {verb, [directory](const Environment&) -> absl::StatusOr<Command> {
            return PkiInitCommand{.directory = *directory};
          }};
}

Verb AddIssue(CLI::App& pki, CertificateKind kind, const std::string& name,
              const std::string& description, const std::string& examples) {
  auto options = std::make_shared<IssueOptions>();
  CLI::App* verb = AddVerb(pki, name, description, examples);
  AddDirectory(*verb, options->directory);
  AddValue(*verb, "--name", options->name, "NAME",
           "Names the files NAME.pem and NAME.key, and the holder")
      ->required();
  AddValues(*verb, "--address", options->addresses, "ADDRESS",
            "IP address or DNS name under which it is reached, repeatable");
  if (kind == CertificateKind::kViewer) {
    AddValue(*verb, "--role", options->role, "viewer|operator",
             "What the holder may do: read, or grant as well. Default: viewer");
  }
  AddValue(*verb, "--days", options->days, "N", "How long it is good. Default: 825");
  return {verb, [options, kind](const Environment&) { return BuildIssue(*options, kind); }};
}

}  // namespace

void AddPkiVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  CLI::App* pki = AddVerb(
      app, "pki", "A small certificate authority for trials and small fleets",
      "  posternctl pki init --dir pki\n"
      "  posternctl pki agent --dir pki --name vm1 --address 192.0.2.10 --address vm1.example.org\n"
      "  posternctl pki controller --dir pki --name main\n"
      "  posternctl pki client --dir pki --name alice --role operator\n"
      "\n"
      "Keys are EC P-256. Nothing is ever overwritten. ca.key opens every door: keep it off the\n"
      "VMs. Holders are named spiffe://postern/agent/NAME, spiffe://postern/controller/NAME and\n"
      "spiffe://postern/client/NAME.");
  verbs.push_back(AddInit(*pki));
  verbs.push_back(AddIssue(*pki, CertificateKind::kAgent, "agent",
                           "A certificate for a VM's agent (serves)",
                           "  posternctl pki agent --dir pki --name vm1 --address 192.0.2.10"));
  verbs.push_back(AddIssue(*pki, CertificateKind::kController, "controller",
                           "A certificate for a controller (calls agents, and serves)",
                           "  posternctl pki controller --dir pki --name main"));
  verbs.push_back(AddIssue(*pki, CertificateKind::kViewer, "client",
                           "A certificate for a person or a program (calls agents)",
                           "  posternctl pki client --dir pki --name alice --role operator"));
}

}  // namespace postern
