#include "tests/kernel/daemon/calls.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/prefix.h"
#include "common/status.h"
#include "common/uuid.h"

namespace postern {
namespace {

// An element and, at the end of whichever grant claims it longest, its end.
using Elements = std::map<std::pair<SetId, std::string>, absl::Time>;

// What is about to end may be there or not.
constexpr absl::Duration kAboutToEnd = absl::Milliseconds(300);
// Two kernel ticks of 10 ms, and the rounding of what is read.
constexpr absl::Duration kTicks = absl::Milliseconds(30);

absl::Status FromGrpc(const grpc::Status& status, const char* call) {
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(call, ": ", status.error_message()));
}

std::vector<Protocol> ProtocolsOf(v1::Protocol protocol) {
  if (protocol == v1::TCP) return {Protocol::kTcp};
  if (protocol == v1::UDP) return {Protocol::kUdp};
  return {Protocol::kTcp, Protocol::kUdp};
}

absl::StatusOr<Elements> WantedBy(const std::vector<v1::Grant>& grants) {
  Elements wanted;
  for (const v1::Grant& grant : grants) {
    const Admission admission = grant.on_expiry() == v1::KEEP ? Admission::kKeep : Admission::kCut;
    for (const std::string& source : grant.source_prefixes()) {
      POSTERN_ASSIGN_OR_RETURN(const Prefix prefix, Prefix::Parse(source));
      for (const v1::Port& port : grant.ports()) {
        for (const Protocol protocol : ProtocolsOf(port.protocol())) {
          const AccessKey key = {
              .source = prefix, .protocol = protocol, .port = static_cast<uint16_t>(port.number())};
          absl::Time& end =
              wanted.try_emplace({SetOf(key, admission), key.ToString()}, absl::InfinitePast())
                  .first->second;
          end = std::max(end, ToTime(grant.end_time()));
        }
      }
    }
  }
  return wanted;
}

absl::StatusOr<Elements> HeldBy(NftFirewall& kernel) {
  Elements held;
  POSTERN_ASSIGN_OR_RETURN(const std::vector<SetId> sets, kernel.ReadSets());
  for (const SetId& set : sets) {
    POSTERN_ASSIGN_OR_RETURN(const std::vector<InstalledElement> elements,
                             kernel.ReadElements(set));
    for (const InstalledElement& element : elements) {
      held[{set, element.key.ToString()}] = absl::Now() + element.remaining;
    }
  }
  return held;
}

std::string DifferenceOf(const Elements& wanted, const Elements& held, absl::Duration slack) {
  std::string difference;
  const absl::Time soon = absl::Now() + kAboutToEnd;
  for (const auto& [element, end] : wanted) {
    const auto found = held.find(element);
    if (found == held.end()) {
      if (end > soon) {
        absl::StrAppend(&difference, element.second, " is missing in ", element.first.Name(), "\n");
      }
    } else if (absl::AbsDuration(found->second - end) > slack) {
      absl::StrAppend(&difference, element.second, " in ", element.first.Name(), " ends ",
                      absl::FormatDuration(found->second - end), " after its grant\n");
    }
  }
  for (const auto& [element, end] : held) {
    if (!wanted.contains(element) && end > soon) {
      absl::StrAppend(&difference, element.second, " in ", element.first.Name(), " has no grant\n");
    }
  }
  return difference;
}

}  // namespace

std::unique_ptr<grpc::ClientContext> NewContext() {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  return context;
}

v1::CreateGrantRequest NewGrant(const std::string& source, absl::Duration duration) {
  v1::CreateGrantRequest request;
  request.set_id(NewUuid());
  request.add_source_prefixes(source);
  v1::Port& port = *request.add_ports();
  port.set_number(22);
  port.set_protocol(v1::ANY);
  request.mutable_duration()->set_seconds(duration / absl::Seconds(1));
  request.mutable_duration()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(duration % absl::Seconds(1))));
  return request;
}

Answer Create(v1::AgentService::Stub& stub, const v1::CreateGrantRequest& request) {
  Answer answer;
  answer.status = stub.CreateGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

Answer Revoke(v1::AgentService::Stub& stub, const std::string& id) {
  v1::RevokeGrantRequest request;
  request.set_id(id);
  Answer answer;
  answer.status = stub.RevokeGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

Answer Extend(v1::AgentService::Stub& stub, const std::string& id, absl::Duration by) {
  v1::ExtendGrantRequest request;
  request.set_id(id);
  request.mutable_duration()->set_seconds(by / absl::Seconds(1));
  Answer answer;
  answer.status = stub.ExtendGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

Answer Move(v1::AgentService::Stub& stub, const std::string& id, const std::string& prefix) {
  v1::MoveGrantRequest request;
  request.set_id(id);
  request.add_source_prefixes(prefix);
  Answer answer;
  answer.status = stub.MoveGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

Answer Get(v1::AgentService::Stub& stub, const std::string& id) {
  v1::GetGrantRequest request;
  request.set_id(id);
  Answer answer;
  answer.status = stub.GetGrant(NewContext().get(), request, &answer.grant);
  return answer;
}

absl::StatusOr<v1::GetStatusResponse> GetStatus(v1::AgentService::Stub& stub) {
  v1::GetStatusResponse response;
  POSTERN_RETURN_IF_ERROR(FromGrpc(stub.GetStatus(NewContext().get(), {}, &response), "GetStatus"));
  return response;
}

absl::StatusOr<std::vector<v1::Grant>> ListGrants(v1::AgentService::Stub& stub,
                                                  bool include_ended) {
  v1::ListGrantsRequest request;
  request.set_include_ended(include_ended);
  request.set_page_size(1000);
  std::vector<v1::Grant> grants;
  do {
    v1::ListGrantsResponse page;
    POSTERN_RETURN_IF_ERROR(
        FromGrpc(stub.ListGrants(NewContext().get(), request, &page), "ListGrants"));
    grants.insert(grants.end(), page.grants().begin(), page.grants().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return grants;
}

absl::StatusOr<std::vector<v1::AuditEvent>> ListEvents(v1::AgentService::Stub& stub) {
  v1::ListAuditEventsRequest request;
  request.set_page_size(1000);
  std::vector<v1::AuditEvent> events;
  do {
    v1::ListAuditEventsResponse page;
    POSTERN_RETURN_IF_ERROR(
        FromGrpc(stub.ListAuditEvents(NewContext().get(), request, &page), "ListAuditEvents"));
    events.insert(events.end(), page.events().begin(), page.events().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return events;
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::StatusOr<std::string> Difference(v1::AgentService::Stub& stub, NftFirewall& kernel) {
  POSTERN_ASSIGN_OR_RETURN(const v1::GetStatusResponse before, GetStatus(stub));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<v1::Grant> grants, ListGrants(stub));
  POSTERN_ASSIGN_OR_RETURN(const v1::GetStatusResponse after, GetStatus(stub));
  // Grants end while this looks, and none begins.
  if (before.live_grants() < grants.size() || grants.size() < after.live_grants()) {
    return absl::StrCat("GetStatus has ", before.live_grants(), " and then ", after.live_grants(),
                        " live grants, and ListGrants ", grants.size());
  }
  POSTERN_ASSIGN_OR_RETURN(const Elements wanted, WantedBy(grants));
  const absl::Time began = absl::Now();
  POSTERN_ASSIGN_OR_RETURN(const Elements held, HeldBy(kernel));
  return DifferenceOf(wanted, held, kTicks + (absl::Now() - began));
}

}  // namespace postern
