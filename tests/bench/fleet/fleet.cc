#include "tests/bench/fleet/fleet.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "common/status.h"

namespace postern::bench {
namespace {

constexpr uint16_t kRestPort = 8443;
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr char kLocation[] = "west";

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(path);
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file ? absl::OkStatus() : absl::UnavailableError(absl::StrCat("cannot write ", path));
}

// A connection for each agent, here and there.
absl::Status AllowManyFiles() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return ErrnoStatus(errno, "getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return ErrnoStatus(errno, "setrlimit");
  return absl::OkStatus();
}

}  // namespace

std::string VmName(size_t number) { return absl::StrFormat("vm-%05d", number); }

std::string VmIdOf(const std::string& name) {
  return absl::StrCat(kGroupId, "/providers/Microsoft.Compute/virtualMachines/", name);
}

std::string PolicyPath(size_t vm) {
  return absl::StrCat(kGroupId, "/providers/Microsoft.Security/locations/", kLocation,
                      "/jitNetworkAccessPolicies/p", vm / kVmsOfPolicy);
}

std::string Azure(const std::string& path) { return absl::StrCat(path, "?api-version=2020-01-01"); }

absl::StatusOr<std::unique_ptr<Fleet>> Fleet::Create(FleetOptions options) {
  std::unique_ptr<Fleet> fleet(new Fleet(std::move(options)));
  POSTERN_RETURN_IF_ERROR(AllowManyFiles());
  POSTERN_ASSIGN_OR_RETURN(fleet->network_, Namespace::Create());
  if (setns(fleet->network_->fd(), CLONE_NEWNET) < 0) {
    return ErrnoStatus(errno, "enter a network namespace");
  }
  const std::string& directory = fleet->options_.directory;
  std::string config =
      absl::StrCat("state_dir: state\nnames: [127.0.0.1]\nrest: {address: \"127.0.0.1:", kRestPort,
                   "\"}\nagents: {address: \"", kFleetAddress, "\"}\n");
  if (!fleet->options_.postgres.empty()) {
    absl::StrAppend(&config, "store: {postgres: \"", fleet->options_.postgres, "\"}\n");
  }
  POSTERN_RETURN_IF_ERROR(WriteFile(absl::StrCat(directory, "/controller.yaml"), config));
  return fleet;
}

absl::Status Fleet::StartController() {
  const std::string& directory = options_.directory;
  POSTERN_ASSIGN_OR_RETURN(
      controller_,
      Process::Start(*network_,
                     {options_.controller, "--config", absl::StrCat(directory, "/controller.yaml")},
                     absl::StrCat(directory, "/controller.log")));
  const absl::Time end = absl::Now() + kPatience;
  while (true) {
    POSTERN_RETURN_IF_ERROR(controller_->Alive());
    const auto token = ReadFile(absl::StrCat(directory, "/state/owner.token"));
    const auto ca = ReadFile(absl::StrCat(directory, "/state/ca.pem"));
    if (owner_ == nullptr && token.ok() && ca.ok()) {
      ca_ = *ca;
      owner_ = std::make_unique<RestClient>(
          RestOptions{.port = kRestPort,
                      .ca = ca_,
                      .token = std::string(absl::StripSuffix(*token, "\n")),
                      .source = "127.0.0.1"});
    }
    if (owner_ != nullptr && owner_->Call("GET", "/postern/v1/health").ok()) {
      return absl::OkStatus();
    }
    if (absl::Now() > end) return absl::DeadlineExceededError("the controller does not serve");
    absl::SleepFor(absl::Milliseconds(2));
  }
}

absl::Status Fleet::StopController() {
  controller_->Signal(SIGTERM);
  POSTERN_ASSIGN_OR_RETURN(const int status, controller_->Wait(kPatience));
  if (status == 0) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("the controller ended with ", status, ": ", controller_->Log()));
}

absl::StatusOr<std::unique_ptr<RestClient>> Fleet::Somebody(const std::string& principal,
                                                            const std::string& source) {
  POSTERN_ASSIGN_OR_RETURN(const Json token,
                           owner_->CallJson("POST", "/postern/v1/tokens",
                                            {{"principal", principal}, {"lifetime", "1d"}}));
  return std::make_unique<RestClient>(RestOptions{
      .port = kRestPort, .ca = ca_, .token = token.value("secret", ""), .source = source});
}

absl::Status Fleet::MakePeople(size_t count) {
  POSTERN_ASSIGN_OR_RETURN(nobody_, Somebody("user:nobody", "127.0.1.1"));
  for (size_t i = 0; i < count; ++i) {
    const std::string principal = absl::StrCat("user:person-", i);
    POSTERN_RETURN_IF_ERROR(
        owner_
            ->Call("PUT", "/postern/v1/roles",
                   {{"principal", principal}, {"role", "Owner"}, {"scope", kGroupId}})
            .status());
    POSTERN_ASSIGN_OR_RETURN(std::unique_ptr<RestClient> person,
                             Somebody(principal, absl::StrCat("127.0.2.", i + 1)));
    people_.push_back(std::move(person));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<AgentIdentity>> Fleet::Enroll(size_t count) {
  POSTERN_ASSIGN_OR_RETURN(
      const Json token,
      owner_->CallJson(
          "POST", "/postern/v1/join-tokens",
          {{"scope", kGroupId}, {"location", kLocation}, {"uses", count}, {"lifetime", "1h"}}));
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) names.push_back(VmName(i));
  return EnrollAll(kFleetAddress, ca_, token.value("secret", ""), names);
}

absl::Status Fleet::PutPolicies(size_t vms) {
  for (size_t first = 0; first < vms; first += kVmsOfPolicy) {
    POSTERN_RETURN_IF_ERROR(PutPolicy(first, std::min(kVmsOfPolicy, vms - first)));
  }
  return absl::OkStatus();
}

absl::Status Fleet::PutPolicy(size_t first_vm, size_t vms) {
  Json list = Json::array();
  for (size_t i = 0; i < vms; ++i) {
    list.push_back({{"id", VmIdOf(VmName(first_vm + i))},
                    {"ports",
                     {{{"number", 22},
                       {"protocol", "TCP"},
                       {"allowedSourceAddressPrefix", "*"},
                       {"maxRequestAccessDuration", "PT3H"}}}}});
  }
  return owner_
      ->Call("PUT", Azure(PolicyPath(first_vm)),
             {{"kind", "Basic"}, {"properties", {{"virtualMachines", std::move(list)}}}})
      .status();
}

}  // namespace postern::bench
