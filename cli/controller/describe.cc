#include "cli/controller/describe.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/forms.h"
#include "cli/table.h"
#include "common/text.h"

namespace postern {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::optional<absl::Time> TimeOf(const Json& object, absl::string_view name) {
  const absl::StatusOr<absl::Time> time = ParseTimestamp(TextOf(object, name));
  return time.ok() ? std::optional(*time) : std::nullopt;
}

// "5m ago"; `otherwise` where there is no such time.
std::string DistanceOf(const Json& object, absl::string_view name, const Reader& reader,
                       const std::string& otherwise = "") {
  const std::optional<absl::Time> time = TimeOf(object, name);
  return time ? DescribeDistance(*time, reader) : otherwise;
}

std::string LongTimeOf(const Json& object, absl::string_view name, const Reader& reader) {
  const std::optional<absl::Time> time = TimeOf(object, name);
  if (!time) return "";
  return absl::StrCat(DescribeTime(*time, reader), ", ", DescribeDistance(*time, reader));
}

bool IsTrue(const Json& object, const char* name) {
  return object.is_object() && object.value(name, Json(false)) == true;
}

std::string Joined(const Json& list) {
  std::vector<std::string> texts;
  for (const Json& item : list) {
    if (item.is_string()) texts.push_back(Printable(item.get<std::string>()));
  }
  return absl::StrJoin(texts, ", ");
}

// Azure writes one source or many under two names.
std::string SourcesOf(const Json& port) {
  const std::string one = TextOf(port, "allowedSourceAddressPrefix");
  return one.empty() ? Joined(ListOf(port, "allowedSourceAddressPrefixes")) : one;
}

bool IsOver(const Json& port) { return TextOf(port, "status") == "Revoked"; }

// It was withdrawn, and its VM has not told that it is closed there.
bool MayBeOpen(const Json& port, const Reader& reader) {
  const std::optional<absl::Time> end = TimeOf(port, "end_time");
  return IsOver(port) && !TextOf(port, "applied_time").empty() && !IsTrue(port, "end_confirmed") &&
         end && *end > reader.now;
}

// "Initiated", or "Revoked: Expired".
std::string StatusOf(const Json& port) {
  const std::string status = TextOf(port, "status");
  const std::string reason = TextOf(port, "status_reason");
  return reason.empty() || status != "Revoked" ? status : absl::StrCat(status, ": ", reason);
}

// Agents tell of the use of what is open only now and then.
std::string UseOf(const Json& port) {
  const int64_t packets = NumberOf(ObjectOf(port, "usage"), "packets");
  if (packets == 0) return IsOver(port) ? "never" : "none seen yet";
  return absl::StrCat(packets, packets == 1 ? " packet" : " packets");
}

std::string TokenState(const Json& token, const Reader& reader) {
  return IsTrue(token, "revoked") ? "revoked" : DistanceOf(token, "expires", reader);
}

}  // namespace

std::string LastPart(const std::string& id) { return id.substr(id.rfind('/') + 1); }

std::string DescribePolicies(const Json& policies, const Reader& reader) {
  const std::vector<Column> columns = {
      {.title = "POLICY"}, {.title = "VMS", .may_shrink = true}, {.title = "ID"}};
  Rows rows;
  for (const Json& policy : policies) {
    std::vector<std::string> vms;
    for (const Json& vm : ListOf(ObjectOf(policy, "properties"), "virtualMachines")) {
      vms.push_back(LastPart(TextOf(vm, "id")));
    }
    rows.push_back({TextOf(policy, "name"), absl::StrJoin(vms, ", "), TextOf(policy, "id")});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribePolicy(const Json& policy, const Reader& reader) {
  const Json& properties = ObjectOf(policy, "properties");
  const Json& additions = ObjectOf(properties, "postern");
  Block block;
  block.Add("id", TextOf(policy, "id"));
  if (!TextOf(additions, "onExpiry").empty()) {
    block.Add("on expiry", TextOf(additions, "onExpiry"));
  }
  if (IsTrue(additions, "requireJustification")) block.Add("justification", "required");
  const Json& approvals = ObjectOf(additions, "approvals");
  if (!approvals.empty()) {
    block.Add("approvals", absl::StrCat(NumberOf(approvals, "count"), " of the role ",
                                        TextOf(approvals, "role")));
  }
  const std::vector<Column> columns = {{.title = "VM"},
                                       {.title = "PORT"},
                                       {.title = "PROTOCOL"},
                                       {.title = "AT MOST"},
                                       {.title = "SOURCES", .may_shrink = true}};
  Rows rows;
  for (const Json& vm : ListOf(properties, "virtualMachines")) {
    for (const Json& port : ListOf(vm, "ports")) {
      rows.push_back({LastPart(TextOf(vm, "id")), absl::StrCat(NumberOf(port, "number")),
                      TextOf(port, "protocol"), TextOf(port, "maxRequestAccessDuration"),
                      SourcesOf(port)});
    }
  }
  return absl::StrCat("policy ", TextOf(policy, "name"), "\n", block.Render(),
                      RenderTable(columns, rows, reader.width));
}

std::string DescribeRequests(const Json& requests, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "ID"},
                                       {.title = "VM"},
                                       {.title = "PORT"},
                                       {.title = "SOURCE", .may_shrink = true},
                                       {.title = "STATUS"},
                                       {.title = "ENDS"},
                                       {.title = "REQUESTOR", .may_shrink = true},
                                       {.title = "USED"}};
  Rows rows;
  for (const Json& request : requests) {
    for (const Json& port : ListOf(request, "ports")) {
      rows.push_back({TextOf(request, "id"), LastPart(TextOf(port, "vm")), TextOf(port, "port"),
                      Joined(ListOf(port, "source_prefixes")),
                      MayBeOpen(port, reader) ? "not closed by the VM yet" : StatusOf(port),
                      DistanceOf(port, IsOver(port) ? "closed_time" : "end_time", reader),
                      TextOf(request, "requestor"), UseOf(port)});
    }
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeRequest(const Json& request, const Reader& reader) {
  std::string out = absl::StrCat("request ", TextOf(request, "id"), "\n");
  Block block;
  block.Add("requestor", TextOf(request, "requestor"));
  block.Add("since", LongTimeOf(request, "start_time", reader));
  if (!TextOf(request, "justification").empty()) {
    block.Add("justification", TextOf(request, "justification"));
  }
  if (NumberOf(request, "approvals_needed") > 0) {
    const std::string by = Joined(ListOf(request, "approved_by"));
    block.Add("approvals", absl::StrCat("needs ", NumberOf(request, "approvals_needed"),
                                        " of the role ", TextOf(request, "approver_role"), "; ",
                                        by.empty() ? "has none" : absl::StrCat("has ", by)));
  }
  block.Add("policy", TextOf(request, "policy"));
  absl::StrAppend(&out, block.Render());
  for (const Json& port : ListOf(request, "ports")) {
    Block one;
    one.Add("status", StatusOf(port));
    const bool over = IsOver(port);
    // Of one that lives it is what the VM has said to an extension.
    const std::string detail = TextOf(port, "detail");
    if (!detail.empty()) one.Add(over ? "because" : "not extended", detail);
    one.Add("from", Joined(ListOf(port, "source_prefixes")));
    const std::string end = LongTimeOf(port, over ? "closed_time" : "end_time", reader);
    if (!end.empty()) one.Add(over ? "ended" : "until", end);
    if (TextOf(port, "status") == "Pending") {
      one.Add("for", absl::StrCat(TextOf(port, "duration"), ", once it is approved"));
    }
    if (MayBeOpen(port, reader)) {
      one.Add("confirmed", absl::StrCat("not yet: the VM may have it open until ",
                                        LongTimeOf(port, "end_time", reader)));
    }
    if (NumberOf(port, "mapped_port") > 0) {
      one.Add("mapped port", absl::StrCat(NumberOf(port, "mapped_port")));
    }
    one.Add("used", UseOf(port));
    absl::StrAppend(&out, LastPart(TextOf(port, "vm")), " ", TextOf(port, "port"), "\n",
                    one.Render());
  }
  return out;
}

std::string DescribeVms(const Json& vms, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "VM"},
                                       {.title = "GROUP"},
                                       {.title = "AGENT"},
                                       {.title = "REQUESTS"},
                                       {.title = "LAST ACCESS"},
                                       {.title = "LAST USER", .may_shrink = true},
                                       {.title = "ID", .may_shrink = true}};
  Rows rows;
  for (const Json& vm : vms) {
    rows.push_back({TextOf(vm, "name"), TextOf(vm, "group"),
                    IsTrue(vm, "attached") ? "attached" : "away",
                    absl::StrCat(NumberOf(vm, "requests_of_seven_days")),
                    DistanceOf(vm, "last_access", reader, "never"), TextOf(vm, "last_user"),
                    TextOf(vm, "id")});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeVm(const Json& vm, const Reader& reader) {
  Block block;
  block.Add("id", TextOf(vm, "id"));
  const std::string reason = TextOf(vm, "reason");
  block.Add("group",
            absl::StrCat(TextOf(vm, "group"), reason.empty() ? "" : absl::StrCat(": ", reason)));
  block.Add("location", TextOf(vm, "location"));
  const std::string version = TextOf(vm, "agent_version");
  block.Add("agent", absl::StrCat(IsTrue(vm, "attached") ? "attached" : "away",
                                  version.empty() ? "" : absl::StrCat(", version ", version),
                                  ", last seen ", DistanceOf(vm, "last_seen", reader, "never")));
  block.Add("requests of seven days", absl::StrCat(NumberOf(vm, "requests_of_seven_days")));
  block.Add("last access", DistanceOf(vm, "last_access", reader, "never"));
  if (!TextOf(vm, "last_user").empty()) block.Add("last user", TextOf(vm, "last_user"));
  return absl::StrCat("vm ", TextOf(vm, "name"), "\n", block.Render());
}

std::string DescribeJoinTokens(const Json& tokens, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "ID"},
                                       {.title = "USES LEFT"},
                                       {.title = "EXPIRES"},
                                       {.title = "MADE BY", .may_shrink = true},
                                       {.title = "SCOPE", .may_shrink = true}};
  Rows rows;
  for (const Json& token : tokens) {
    rows.push_back({TextOf(token, "id"), absl::StrCat(NumberOf(token, "uses_left")),
                    TokenState(token, reader), TextOf(token, "created_by"),
                    TextOf(token, "scope")});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeTokens(const Json& tokens, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "ID"},
                                       {.title = "PRINCIPAL", .may_shrink = true},
                                       {.title = "EXPIRES"},
                                       {.title = "MADE BY", .may_shrink = true}};
  Rows rows;
  for (const Json& token : tokens) {
    rows.push_back({TextOf(token, "id"), TextOf(token, "principal"), TokenState(token, reader),
                    TextOf(token, "created_by")});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeRoles(const Json& roles, const Reader& reader) {
  const std::vector<Column> columns = {{.title = "PRINCIPAL", .may_shrink = true},
                                       {.title = "ROLE"},
                                       {.title = "SCOPE", .may_shrink = true}};
  Rows rows;
  for (const Json& role : roles) {
    rows.push_back({TextOf(role, "principal"), TextOf(role, "role"), TextOf(role, "scope")});
  }
  return RenderTable(columns, rows, reader.width);
}

std::string DescribeFleetEvents(const Json& events, const Reader& reader) {
  std::string out;
  for (const Json& event : events) {
    const std::optional<absl::Time> time = TimeOf(event, "time");
    absl::StrAppend(&out, NumberOf(event, "number"), " ", time ? DescribeTime(*time, reader) : "",
                    " ", TextOf(event, "operation"), " ", TextOf(event, "status"), " by ",
                    TextOf(event, "caller"), " on ", TextOf(event, "target"));
    const Json& detail = ObjectOf(event, "detail");
    for (const auto& [name, value] : detail.items()) {
      absl::StrAppend(&out, " ", Printable(name), "=",
                      Printable(value.is_string() ? value.get<std::string>() : value.dump()));
    }
    absl::StrAppend(&out, "\n");
  }
  return out;
}

}  // namespace postern
