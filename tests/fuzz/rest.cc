// Requests to the controller's REST interface: the target, or the body.

#include <cstdint>
#include <string>

#include "controller/rest/azure_json.h"
#include "controller/rest/json_reading.h"
#include "controller/rest/path.h"
#include "tests/fuzz/fuzz.h"

namespace postern::controller {
namespace {

constexpr size_t kMostMessage = 4096;
const PolicyId kPolicy = {.subscription = "11111111-2222-3333-4444-555555555555",
                          .resource_group = "web",
                          .location = "west",
                          .name = "default"};

template <typename T>
bool Accepted(const absl::StatusOr<T>& read) {
  if (!read.ok()) FUZZ_CHECK(IsGoodMessage(read.status().message(), kMostMessage));
  return read.ok();
}

// A path that is written from what was read reads the same.
void CheckTarget(absl::string_view text) {
  const absl::StatusOr<Target> target = ParseTarget(text);
  if (!Accepted(target)) return;
  std::string written;
  for (const std::string& segment : target->segments) {
    written += "/" + PercentEncoded(segment);
  }
  // One slash at the end says nothing.
  if (!target->segments.empty() && target->segments.back().empty()) written += "/";
  if (!written.empty()) {
    const absl::StatusOr<Target> again = ParseTarget(written);
    FUZZ_CHECK(again.ok() && again->segments == target->segments);
  }
  Match("/subscriptions/{}/providers/Microsoft.Security/jitNetworkAccessPolicies",
        target->segments);
}

// A policy that stands is told as it was put.
void CheckPolicyBody(const Json& body) {
  const absl::StatusOr<PolicyChange> change = ReadPolicy(kPolicy, body);
  if (!Accepted(change)) return;
  Policy policy = {.id = kPolicy, .vms = change->vms, .version = 1};
  policy.additions = change->additions.value_or(PolicyAdditions());
  if (!CheckPolicy(policy).ok()) return;
  const absl::StatusOr<PolicyChange> again =
      ReadPolicy(kPolicy, PolicyJson({.policy = policy, .requests = {}}));
  FUZZ_CHECK(again.ok() && again->vms.size() == policy.vms.size());
  for (size_t i = 0; i < policy.vms.size(); ++i) {
    FUZZ_CHECK(again->vms[i].ports == policy.vms[i].ports);
  }
  FUZZ_CHECK(again->additions.value_or(PolicyAdditions()) == policy.additions);
}

void CheckBody(absl::string_view text) {
  HttpRequest request{.method = "POST", .target = "/"};
  request.headers["content-type"] = "application/json";
  request.body = std::string(text);
  const absl::StatusOr<Json> body = ReadBody(request);
  if (!Accepted(body)) return;
  CheckPolicyBody(*body);
  Accepted(ReadAsked(*body));
}

}  // namespace
}  // namespace postern::controller

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text = postern::AsText(data, size);
  if (text.substr(0, 1) == "/") {
    postern::controller::CheckTarget(text);
  } else {
    postern::controller::CheckBody(text);
  }
  return 0;
}
