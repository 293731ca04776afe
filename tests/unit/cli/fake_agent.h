// An agent that lives in the test: it answers what it was told to and
// remembers what it was asked.

#ifndef POSTERN_TESTS_UNIT_CLI_FAKE_AGENT_H_
#define POSTERN_TESTS_UNIT_CLI_FAKE_AGENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "postern/v1/agent.pb.h"

namespace postern {

struct Answers {
  // What the calls answer; `failure` goes before all of them, for as many calls
  // as `failures` says.
  absl::Status failure;
  int failures = 1 << 20;
  // A google.rpc.BadRequest with these goes with the failure.
  std::vector<std::pair<std::string, std::string>> violations;

  v1::Grant grant;
  std::vector<v1::Grant> grants;
  // The ids that RevokeGrant does not find.
  std::vector<std::string> unknown_ids;
  v1::GetStatusResponse status;
  v1::CheckAccessResponse check;
  v1::DiagnoseResponse diagnosis;
  v1::ListDeniedResponse denied;
  v1::LockdownResponse lockdown;
  v1::ArmResponse arm;
  v1::ConfirmResponse confirm;
  std::vector<v1::AuditEvent> events;
  // Grants and events on a page.
  int page_size = 2;
  // Each watch gets the next list of events and the status that ends it; after
  // the last, watches stay open and silent.
  struct Watch {
    std::vector<v1::AuditEvent> events;
    absl::Status end;
  };
  std::vector<Watch> watches;
  // Called before each answer of a unary call.
  std::function<void()> before_answer;
  // Called when a watch has nothing more to send.
  std::function<void()> on_silence;
};

// What came in, as text protos with the method's name before.
struct Asked {
  std::vector<std::string> calls;
  v1::CreateGrantRequest create;
};

class FakeAgent {
 public:
  struct Tls {
    // PEM.
    std::string ca;
    std::string cert;
    std::string key;
  };

  virtual ~FakeAgent() = default;
  virtual Asked asked() const = 0;
  // Of a TCP address; 0 otherwise.
  virtual int port() const = 0;
};

// `address` is a gRPC address ("unix:PATH", "127.0.0.1:0"). With `tls` it wants
// a client certificate of that authority. `answers` is borrowed. Null when the
// address cannot be had.
std::unique_ptr<FakeAgent> StartFakeAgent(const std::string& address, Answers& answers,
                                          const FakeAgent::Tls* tls = nullptr);

}  // namespace postern

#endif  // POSTERN_TESTS_UNIT_CLI_FAKE_AGENT_H_
