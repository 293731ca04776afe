#include "tests/unit/controller/fleet/test_agent.h"

#include <poll.h>

#include <utility>

#include "tests/support/grants.h"

namespace postern::controller {

TestAgent::TestAgent(const TestAgentOptions& options) : clock_(options.clock_ahead) {
  options_.limits.max_duration = absl::Hours(2);
  options_.limits.max_live_grants = options.max_live_grants;
  options_.limits.allowed_sources = options.allowed_sources;
  options_.gate.ports = options_.limits.guarded_ports;
  link_options_ = {.controller = {.address = options.address,
                                  .ca = directory_.Write("ca.pem", options.ca, 0644),
                                  .join_token_file = directory_.Write("token", options.token)},
                   .state_dir = directory_.Path(""),
                   .version = "1",
                   .name = "web-1",
                   // Its host leads ssh to another port.
                   .read_mapped =
                       [](const std::vector<uint16_t>&) {
                         return std::map<uint16_t, uint16_t>{{22, 2222}};
                       },
                   .changed = [] {}};
  Start();
}

TestAgent::~TestAgent() {
  if (link_ != nullptr) Stop();
}

void TestAgent::Start() {
  mailbox_ = std::make_unique<Mailbox>();
  gatekeeper_ = std::make_unique<Gatekeeper>(
      options_, Gatekeeper::Collaborators{.clock = clock_,
                                          .store = store_,
                                          .firewall = firewall_,
                                          .sessions = sessions_,
                                          .announce =
                                              [this](const AuditEvent& event) {
                                                if (link_ != nullptr) link_->OnEvent(event);
                                              },
                                          .report = [](const absl::Status&) {}});
  EXPECT_EQ(gatekeeper_->Start(), absl::OkStatus());
  link_ = Link::Start(link_options_, *mailbox_, clock_);
  stopping_ = false;
  loop_ = std::thread([this] { Loop(); });
}

void TestAgent::Stop() {
  stopping_ = true;
  mailbox_->Ask([](Gatekeeper&) {}).IgnoreError();
  loop_.join();
  mailbox_->Close();
  mailbox_->Drain(*gatekeeper_);
  link_.reset();
  gatekeeper_.reset();
}

bool TestAgent::Admits(const std::string& source) {
  return On<bool>(
      [&](Gatekeeper&) { return firewall_.Admits(*Address::Parse(source), Protocol::kTcp, 22); });
}

Grant TestAgent::Get(const std::string& id) {
  const auto grant =
      On<absl::StatusOr<Grant>>([&](Gatekeeper& gatekeeper) { return gatekeeper.Get(id); });
  EXPECT_TRUE(grant.ok()) << grant.status();
  return grant.value_or(Grant());
}

void TestAgent::RevokeLocally(const std::string& id) {
  std::promise<absl::StatusOr<Grant>> answer;
  ASSERT_EQ(mailbox_->Submit(
                {.request = RevokeGrant{.id = id, .reason = "on the VM"},
                 .actor = "local",
                 .done = [&](absl::StatusOr<Grant> grant) { answer.set_value(std::move(grant)); }}),
            absl::OkStatus());
  EXPECT_TRUE(answer.get_future().get().ok());
}

void TestAgent::Use(const std::string& source, uint64_t packets) {
  On<bool>([&](Gatekeeper&) {
    const AccessKey key = Key(source, 22);
    firewall_.Use(SetOf(key, AdmissionOf(OnExpiry::kKeep)), key,
                  {.packets = packets, .bytes = 60 * packets});
    return true;
  });
}

void TestAgent::Advance(absl::Duration by) {
  clock_.Advance(by);
  if (link_ == nullptr) return;
  On<bool>([&](Gatekeeper& gatekeeper) {
    gatekeeper.OnAlarm();
    link_->OnAlarm();
    return true;
  });
}

void TestAgent::Loop() {
  while (!stopping_) {
    pollfd waiting{.fd = mailbox_->fd(), .events = POLLIN, .revents = 0};
    poll(&waiting, 1, 1000);
    mailbox_->Drain(*gatekeeper_);
  }
}

}  // namespace postern::controller
