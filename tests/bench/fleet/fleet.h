// The bench's controller, and the names that it knows: one resource group with VMs
// vm-00000, vm-00001, ..., and policies p0, p1, ... over them.

#ifndef POSTERN_TESTS_BENCH_FLEET_FLEET_H_
#define POSTERN_TESTS_BENCH_FLEET_FLEET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tests/bench/fleet/agents.h"
#include "tests/bench/fleet/rest_client.h"
#include "tests/kernel/namespace.h"
#include "tests/kernel/process.h"

namespace postern::bench {

inline constexpr char kGroupId[] =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/fleet";
inline constexpr char kFleetAddress[] = "127.0.0.1:7444";
inline constexpr size_t kVmsOfPolicy = 50;

std::string VmName(size_t number);
std::string VmIdOf(const std::string& name);
// Of the policy that has this VM.
std::string PolicyPath(size_t vm);

// "PATH?api-version=..."
std::string Azure(const std::string& path);

struct FleetOptions {
  std::string controller;
  std::string directory;
  // For libpq; empty: SQLite.
  std::string postgres;
};

class Fleet {
 public:
  // Moves the calling thread, the main one, to a network namespace of its own:
  // before gRPC starts threads.
  static absl::StatusOr<std::unique_ptr<Fleet>> Create(FleetOptions options);

  // Returns once it serves.
  absl::Status StartController();
  // SIGTERM, and waits for the end.
  absl::Status StopController();
  const Process& controller() const { return *controller_; }

  // As the owner.
  RestClient& owner() { return *owner_; }
  // Somebody of their own, at an address of their own, each: what the controller
  // allows one caller is less than what is measured.
  std::vector<std::unique_ptr<RestClient>>& people() { return people_; }
  // Somebody without any role.
  RestClient& nobody() { return *nobody_; }

  // Makes `count` of people().
  absl::Status MakePeople(size_t count);
  absl::StatusOr<std::vector<AgentIdentity>> Enroll(size_t count);
  absl::Status PutPolicies(size_t vms);
  absl::Status PutPolicy(size_t first_vm, size_t vms);

  const FleetOptions& options() const { return options_; }

 private:
  explicit Fleet(FleetOptions options) : options_(std::move(options)) {}
  absl::StatusOr<std::unique_ptr<RestClient>> Somebody(const std::string& principal,
                                                       const std::string& source);

  const FleetOptions options_;
  std::unique_ptr<Namespace> network_;
  std::unique_ptr<Process> controller_;
  std::string ca_;
  std::unique_ptr<RestClient> owner_;
  std::unique_ptr<RestClient> nobody_;
  std::vector<std::unique_ptr<RestClient>> people_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FLEET_FLEET_H_
