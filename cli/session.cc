#include "cli/session.h"

#include "cli/failure.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {

Session::Session(const Environment& environment, const Invocation& invocation, std::ostream& out,
                 std::ostream& err)
    : environment_(environment), invocation_(invocation), out_(out), err_(err) {}

absl::StatusOr<std::unique_ptr<AgentClient>> Session::Connect() {
  if (const auto* local = std::get_if<LocalAgent>(&invocation_.agent)) {
    return CallLocal(*local, invocation_.timeout);
  }
  const auto& remote = std::get<RemoteAgent>(invocation_.agent);
  POSTERN_ASSIGN_OR_RETURN(const Credentials credentials,
                           ReadCredentials(remote, environment_.now()));
  for (const std::string& warning : credentials.warnings) Say("warning: " + warning);
  return CallRemote(remote, credentials, invocation_.timeout);
}

absl::StatusOr<ControllerClient> Session::ConnectController() {
  std::vector<std::string> warnings;
  absl::StatusOr<ControllerClient> client =
      ControllerClient::Open(*invocation_.controller, invocation_.timeout, warnings);
  for (const std::string& warning : warnings) Say("warning: " + warning);
  return client;
}

Reader Session::reader() const {
  // https://no-color.org: present and not empty.
  const bool colour = environment_.out_is_terminal && environment_.Get("NO_COLOR").empty() &&
                      environment_.Get("TERM") != "dumb";
  return {.zone = environment_.zone,
          .now = environment_.now(),
          .colour = colour,
          .width = environment_.out_is_terminal ? environment_.columns : 0};
}

void Session::Say(absl::string_view message) {
  err_ << "posternctl: " << Printable(message) << "\n" << std::flush;
}

int Session::Fail(const absl::Status& status) {
  err_ << DescribeFailure(status) << std::flush;
  return ExitCodeFor(status.code());
}

absl::Status Session::Print(const google::protobuf::Message& reply, const std::string& words) {
  if (format() == Format::kYaml) {
    out_ << ToYaml(reply) << "\n";
  } else if (format() == Format::kJson) {
    POSTERN_ASSIGN_OR_RETURN(const std::string json, ToJson(reply));
    out_ << json << "\n";
  } else {
    out_ << words;
  }
  return absl::OkStatus();
}

absl::Status Session::PrintList(const std::string& name,
                                const std::vector<const google::protobuf::Message*>& replies,
                                const std::string& words) {
  if (format() == Format::kYaml) {
    out_ << ToYamlList(name, replies) << "\n";
  } else if (format() == Format::kJson) {
    POSTERN_ASSIGN_OR_RETURN(const std::string json, ToJsonList(name, replies));
    out_ << json << "\n";
  } else {
    out_ << words;
  }
  return absl::OkStatus();
}

void Session::PrintJson(const Json& answer, const std::string& words) {
  if (format() == Format::kYaml) {
    out_ << JsonToYaml(answer) << "\n";
  } else if (format() == Format::kJson) {
    out_ << JsonText(answer) << "\n";
  } else {
    out_ << words;
  }
}

void Session::PrintFacts(const Facts& facts, const std::string& words) {
  switch (format()) {
    case Format::kYaml:
      out_ << FactsToYaml(facts) << "\n";
      break;
    case Format::kJson:
      out_ << FactsToJson(facts) << "\n";
      break;
    default:
      out_ << words;
  }
}

}  // namespace postern
