#include "cli/output.h"

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "cli/csv.h"
#include "cli/describe.h"
#include "cli/proto_time.h"
#include "cli/table.h"
#include "common/csv.h"
#include "postern/v1/agent.pb.h"
#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

TEST(Json, IsProtobufsWithItsOwnNamesAndZeroes) {
  EXPECT_EQ(R"({
 "id": "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11",
 "source_prefixes": [
  "203.0.113.7/32"
 ],
 "ports": [
  {
   "number": 22,
   "protocol": "TCP"
  }
 ],
 "requestor": "alice",
 "justification": "deploy 142",
 "on_expiry": "KEEP",
 "state": "ACTIVE",
 "end_cause": "",
 "created_by": "local",
 "usage": {
  "packets": "0",
  "bytes": "0"
 },
 "duration": "3600s",
 "start_time": "2024-05-01T12:00:00Z",
 "end_time": "2024-05-01T13:00:00.250Z"
})",
            ToJson(TestGrant()).value());
}

TEST(Json, ListsAndLines) {
  EXPECT_EQ("{\n \"grants\": []\n}", ToJsonList("grants", {}).value());
  v1::Port port;
  port.set_number(22);
  EXPECT_EQ(R"({"number":22,"protocol":"PROTOCOL_UNSPECIFIED"})", ToJsonLine(port).value());
  EXPECT_EQ(
      "{\n \"ports\": [\n"
      "  {\n   \"number\": 22,\n   \"protocol\": \"PROTOCOL_UNSPECIFIED\"\n  },\n"
      "  {\n   \"number\": 22,\n   \"protocol\": \"PROTOCOL_UNSPECIFIED\"\n  }\n"
      " ]\n}",
      ToJsonList("ports", {&port, &port}).value());
}

TEST(Json, CannotSteerATerminal) {
  v1::CheckAccessResponse reply;
  reply.set_reason("\033\x7f\n\xc2\x9b\xe2\x80\xae\xe2\x81\xa6 Grüße 🔑");
  const std::string json = ToJsonLine(reply).value();
  EXPECT_NE(std::string::npos, json.find("\\u001b\\u007f\\n\\u009b\\u202e\\u2066 Grüße 🔑")) << json;
}

TEST(Json, RefusesATimeThatHasNone) {
  v1::Grant grant = TestGrant();
  grant.mutable_end_time()->set_seconds(int64_t{1} << 60);
  EXPECT_EQ(absl::StatusCode::kInternal, ToJson(grant).status().code());
}

TEST(Yaml, IsTheSameDataInBlocks) {
  EXPECT_EQ(R"(id: "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11"
source_prefixes:
  - "203.0.113.7/32"
ports:
  - number: 22
    protocol: TCP
duration: "3600s"
requestor: alice
justification: deploy 142
on_expiry: KEEP
state: ACTIVE
start_time: "2024-05-01T12:00:00Z"
end_time: "2024-05-01T13:00:00.250Z"
end_cause: ""
created_by: local
usage:
  packets: "0"
  bytes: "0")",
            ToYaml(TestGrant()));
  EXPECT_EQ("grants: []", ToYamlList("grants", {}));
}

TEST(Yaml, ReadsBackAsTheSameStrings) {
  const char* texts[] = {"",        "yes",     "No",           "null", "~",          "1e5",
                         "0x1f",    "- item",  "a: b",         "#c",   "a #b",       " lead",
                         "trail ",  "'q'",     "\"q\"",        "a\nb", "\t",         "\x7f",
                         "&anchor", "*alias",  "!tag",         "{a}",  "2024-05-01", "=1+1",
                         "Grüße 🔑", "\033[2J", "\xe2\x80\xae", "%d",   "---",        "...",
                         "a\\n",    "on",      "12:30:00"};
  for (const char* text : texts) {
    v1::CheckAccessResponse reply;
    reply.set_reason(text);
    const std::string yaml = ToYaml(reply);
    const YAML::Node read = YAML::Load(yaml)["reason"];
    EXPECT_EQ(text, read.as<std::string>()) << yaml;
    for (const char c : yaml) EXPECT_TRUE(c == '\n' || (c != '\x7f' && (c & 0xe0) != 0)) << yaml;
  }
}

TEST(Yaml, QuotesWhatReadersWouldTakeForOtherThings) {
  v1::CheckAccessResponse reply;
  reply.set_reason("yes");
  EXPECT_NE(std::string::npos, ToYaml(reply).find("reason: \"yes\""));
}

TEST(Csv, QuotesAsRfc4180) {
  EXPECT_EQ("plain", CsvField("plain"));
  EXPECT_EQ("", CsvField(""));
  EXPECT_EQ("\"a,b\"", CsvField("a,b"));
  EXPECT_EQ("\"say \"\"hi\"\"\"", CsvField("say \"hi\""));
  EXPECT_EQ("a\\x0ab\\x0d", CsvField("a\nb\r"));
}

TEST(Csv, DisarmsFormulas) {
  EXPECT_EQ("'=1+1", CsvField("=1+1"));
  EXPECT_EQ("'+1", CsvField("+1"));
  EXPECT_EQ("'-1", CsvField("-1"));
  EXPECT_EQ("'@SUM(A1)", CsvField("@SUM(A1)"));
  EXPECT_EQ("'\\x09=1", CsvField("\t=1"));
  EXPECT_EQ("\"'=HYPERLINK(\"\"x\"\",1)\"", CsvField("=HYPERLINK(\"x\",1)"));
}

TEST(Csv, WritesEventsInUtc) {
  v1::AuditEvent event = TestEvent(17);
  event.add_source_prefixes("2001:db8::/64");
  EXPECT_EQ(
      "number,time,kind,actor,grant_id,requestor,source_prefixes,ports,end_time,detail\r\n"
      "17,2024-05-01T12:00:00Z,GRANT_CREATED,local,6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11,alice,"
      "203.0.113.7/32 2001:db8::/64,22/tcp,2024-05-01T13:00:00Z,deploy 142\r\n",
      AuditCsvHeader() + AuditCsvLine(event));
}

TEST(Table, PadsByCharactersAndNotTheLastColumn) {
  EXPECT_EQ(
      "A      B\n"
      "Grüße  x\n"
      "b      yy\n",
      RenderTable({{.title = "A"}, {.title = "B"}}, {{"Grüße", "x"}, {"b", "yy"}}, 0));
}

TEST(Table, ShrinksOnlyWhatMay) {
  const std::vector<Column> columns = {{.title = "ID"}, {.title = "SOURCE", .may_shrink = true}};
  const std::vector<std::vector<std::string>> rows = {{"0123456789", "abcdefghijklmnop"}};
  EXPECT_EQ("ID          SOURCE\n0123456789  abcdefghijklmnop\n", RenderTable(columns, rows, 0));
  EXPECT_EQ("ID          SOURCE\n0123456789  abcdefghi…\n", RenderTable(columns, rows, 22));
  EXPECT_EQ("ID          SOURCE\n0123456789  abcdefg…\n", RenderTable(columns, rows, 5));
}

class DescribeTest : public ::testing::Test {
 protected:
  Reader reader_{.zone = TestZone(), .now = TestNow()};
};

TEST_F(DescribeTest, Grant) {
  EXPECT_EQ(
      "grant 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 ACTIVE\n"
      "  from            203.0.113.7/32\n"
      "  ports           22/tcp\n"
      "  until           2024-05-01 15:00:00 +02 (2024-05-01T15:00:00+02:00), 1h left\n"
      "  on expiry       keep\n"
      "  requestor       alice\n"
      "  justification   deploy 142\n",
      DescribeGrant(TestGrant(), reader_));
}

TEST_F(DescribeTest, EndedGrantInColour) {
  v1::Grant grant = TestGrant();
  grant.set_state(v1::REVOKED);
  grant.set_end_cause("revoked by local: left\nearly");
  *grant.mutable_end_time() = ToProto(TestNow() - absl::Minutes(5));
  reader_.colour = true;
  EXPECT_EQ(
      "grant 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 \033[33mREVOKED\033[0m\n"
      "  from            203.0.113.7/32\n"
      "  ports           22/tcp\n"
      "  ended           2024-05-01 13:55:00 +02 (2024-05-01T13:55:00+02:00), 5m ago\n"
      "  cause           revoked by local: left\\x0aearly\n"
      "  on expiry       keep\n"
      "  requestor       alice\n"
      "  justification   deploy 142\n",
      DescribeGrant(grant, reader_));
}

TEST_F(DescribeTest, Grants) {
  v1::Grant used = TestGrant(kOtherId);
  used.add_ports()->set_number(3389);
  used.mutable_usage()->set_packets(3);
  *used.mutable_usage()->mutable_last_used() = ToProto(TestNow() - absl::Seconds(20));
  EXPECT_EQ(
      "ID                                    SOURCE          PORTS           STATE   ENDS     "
      "REQUESTOR  USED\n"
      "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11  203.0.113.7/32  22/tcp          ACTIVE  1h left  "
      "alice      never\n"
      "11111111-2222-4333-8444-555555555555  203.0.113.7/32  22/tcp, 3389/?  ACTIVE  1h left  "
      "alice      3 packets, 20s ago\n",
      DescribeGrants({TestGrant(), used}, reader_));
}

TEST_F(DescribeTest, Status) {
  v1::GetStatusResponse status;
  status.set_version("0.1.0");
  status.set_mode("enforce");
  for (const uint32_t port : {22, 3389}) status.add_guarded_ports(port);
  status.set_live_grants(2);
  status.set_max_live_grants(10000);
  *status.mutable_next_end() = ToProto(TestNow() + absl::Minutes(12));
  *status.mutable_started() = ToProto(TestNow() - absl::Hours(50));
  status.set_dropped_packets(1);
  status.set_dropped_bytes(60);
  *status.mutable_max_duration() = ToProto(absl::Hours(3));
  status.set_listen_address("[::]:7443");
  status.add_warnings("there is no group postern");
  status.mutable_controller()->set_address("ctl.example.org:7444");
  status.mutable_controller()->set_attached(true);
  *status.mutable_controller()->mutable_since() = ToProto(TestNow() - absl::Minutes(3));
  status.mutable_controller()->set_revision(7);
  EXPECT_EQ(
      "postern agent 0.1.0\n"
      "  mode             enforce\n"
      "  guarded ports    22, 3389 (TCP and UDP)\n"
      "  always allowed   nobody\n"
      "  live grants      2 of at most 10000\n"
      "  next end         2024-05-01 14:12:00 +02 (2024-05-01T14:12:00+02:00), 12m left\n"
      "  longest grant    3h\n"
      "  dropped          1 packet, 60 bytes\n"
      "  table            watched; this kernel cannot protect it\n"
      "  repaired         never\n"
      "  controller       ctl.example.org:7444, attached since 2024-05-01 13:57:00 +02 "
      "(2024-05-01T13:57:00+02:00), 3m ago; revision 7\n"
      "  started          2024-04-29 12:00:00 +02 (2024-04-29T12:00:00+02:00), 2d2h ago\n"
      "  listens on       [::]:7443\n"
      "  your address     the local socket\n"
      "  warning          there is no group postern\n",
      DescribeStatus(status, reader_));
}

TEST_F(DescribeTest, Event) {
  EXPECT_EQ(
      "#17 2024-05-01T14:00:00+02:00 grant created 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11 from "
      "203.0.113.7/32 to 22/tcp until 2024-05-01T15:00:00+02:00 for alice by local: deploy 142\n",
      DescribeEvent(TestEvent(17), reader_));
}

}  // namespace
}  // namespace postern
