// policy.

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/controller/describe.h"
#include "cli/controller/verbs.h"
#include "cli/exit_code.h"
#include "cli/files.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kApiVersion[] = "?api-version=2020-01-01";
constexpr int kMostDepth = 32;

// Plain words are what JSON means by them; what is quoted is text.
Json ScalarOf(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;
  int64_t number = 0;
  if (text == "true" || text == "false") return text == "true";
  if (absl::SimpleAtoi(text, &number) && absl::StrCat(number) == text) return number;
  return text;
}

absl::StatusOr<Json> JsonOf(const YAML::Node& node, int depth = 0) {
  if (depth > kMostDepth) return absl::InvalidArgumentError("is nested too deeply");
  if (!node.IsDefined() || node.IsNull()) return Json(nullptr);
  if (node.IsScalar()) return ScalarOf(node);
  Json json = node.IsSequence() ? Json::array() : Json::object();
  for (const auto& member : node) {
    const YAML::Node& value =
        node.IsSequence() ? static_cast<const YAML::Node&>(member) : member.second;
    POSTERN_ASSIGN_OR_RETURN(Json one, JsonOf(value, depth + 1));
    if (node.IsSequence()) {
      json.push_back(std::move(one));
    } else if (member.first.IsScalar()) {
      json[member.first.Scalar()] = std::move(one);
    } else {
      return absl::InvalidArgumentError("has a key that is no text");
    }
  }
  return json;
}

// YAML, of which JSON is a part.
absl::StatusOr<Json> ReadPolicyFile(const std::string& path) {
  const std::string name = path == "-" ? "stdin" : Printable(path);
  POSTERN_ASSIGN_OR_RETURN(const SmallFile file, ReadSmallFile(path == "-" ? "/dev/stdin" : path));
  absl::StatusOr<Json> json;
  try {
    json = JsonOf(YAML::Load(file.content));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ":", error.mark.line + 1, ":", error.mark.column + 1, ": ", Printable(error.msg)));
  }
  if (!json.ok())
    return absl::InvalidArgumentError(absl::StrCat(name, " ", json.status().message()));
  if (TextOf(*json, "id").empty() || ObjectOf(*json, "properties").empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(name,
                     " is no policy: it wants \"id\" and \"properties\", as posternctl policy "
                     "show -o yaml prints them"));
  }
  return json;
}

absl::StatusOr<std::string> ResolvePolicy(const ControllerClient& controller,
                                          const std::string& name) {
  if (absl::StartsWith(name, "/")) return name;
  POSTERN_ASSIGN_OR_RETURN(const Json policies,
                           controller.List("/postern/v1/policies?", "policies"));
  std::string found;
  for (const Json& policy : policies) {
    if (!absl::EqualsIgnoreCase(TextOf(policy, "name"), name)) continue;
    if (!found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("more than one policy is named ",
                                                     Printable(name),
                                                     "; give an id (posternctl policy list)"));
    }
    found = TextOf(policy, "id");
  }
  if (!found.empty()) return found;
  return absl::NotFoundError(absl::StrCat("no policy that you may see is named ", Printable(name),
                                          "; posternctl policy list shows them"));
}

}  // namespace

int Do(const PolicyListCommand& /*command*/, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  return ShowList(controller->List("/postern/v1/policies?", "policies"), "policies",
                  "there is no policy that you may see", DescribePolicies, session);
}

int Do(const PolicyShowCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> id = ResolvePolicy(*controller, command.policy);
  if (!id.ok()) return session.Fail(id.status());
  return ShowAnswer(controller->Get(absl::StrCat(*id, kApiVersion)), DescribePolicy, session);
}

int Do(const PolicyApplyCommand& command, Session& session) {
  const absl::StatusOr<Json> policy = ReadPolicyFile(command.file);
  if (!policy.ok()) return session.Fail(policy.status());
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const std::string id = (*policy)["id"].get<std::string>();
  return ShowAnswer(controller->Call("PUT", absl::StrCat(id, kApiVersion), *policy), DescribePolicy,
                    session);
}

int Do(const PolicyEnableCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> vm = ResolveVm(*controller, command.vm);
  if (!vm.ok()) return session.Fail(vm.status());
  return ShowAnswer(
      controller->Call("POST", absl::StrCat("/postern/v1/vm/enable?id=", PercentEncoded(*vm)),
                       nullptr),
      DescribePolicy, session);
}

int Do(const PolicyDeleteCommand& command, Session& session) {
  const auto controller = session.ConnectController();
  if (!controller.ok()) return session.Fail(controller.status());
  const absl::StatusOr<std::string> id = ResolvePolicy(*controller, command.policy);
  if (!id.ok()) return session.Fail(id.status());
  return ShowDone(controller->Call("DELETE", absl::StrCat(*id, kApiVersion), nullptr).status(),
                  absl::StrCat(*id, " is gone, and what it had opened is closed"), session);
}

}  // namespace postern
