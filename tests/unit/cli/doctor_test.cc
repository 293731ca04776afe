// The doctor's words, against an agent in the same process.

#include <gmock/gmock.h>

#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DoctorVerbTest : public ToolTest {
 protected:
  void Find(v1::FindingSeverity severity, const std::string& name) {
    v1::Finding& finding = *answers_.diagnosis.add_findings();
    finding.set_severity(severity);
    finding.set_name(name);
    finding.set_finding("Chain in\033put drops.");
    finding.set_consequence("Grants are void.");
    finding.set_remedy("Remove it.");
  }
};

TEST_F(DoctorVerbTest, NothingFoundIsSaidAndIsWell) {
  const Outcome run = Tool({"doctor"});
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_EQ("nothing was found that would make a grant void or the gate pointless\n", run.out);
  EXPECT_THAT(asked().calls, ElementsAre("Diagnose "));
}

TEST_F(DoctorVerbTest, FindingsComeWithTheWayOut) {
  Find(v1::CRITICAL, "foreign-drop");
  Find(v1::NOTICE, "ufw");
  const Outcome run = Tool({"doctor"});
  EXPECT_EQ(
      "CRITICAL foreign-drop\n"
      "  found     Chain in\\x1bput drops.\n"
      "  matters   Grants are void.\n"
      "  way out   Remove it.\n"
      "\n"
      "NOTICE ufw\n"
      "  found     Chain in\\x1bput drops.\n"
      "  matters   Grants are void.\n"
      "  way out   Remove it.\n",
      run.out);
}

TEST_F(DoctorVerbTest, WhatIsWorseThanANoticeFails) {
  Find(v1::NOTICE, "ufw");
  EXPECT_EQ(0, Tool({"doctor"}).exit_code);
  Find(v1::WARNING, "loopback-listener");
  EXPECT_EQ(1, Tool({"doctor"}).exit_code);
  answers_.diagnosis.clear_findings();
  Find(v1::CRITICAL, "gate-missing");
  EXPECT_EQ(1, Tool({"doctor", "-o", "yaml"}).exit_code);
  answers_.diagnosis.clear_findings();
  // Of a newer agent.
  Find(static_cast<v1::FindingSeverity>(9), "unheard-of");
  EXPECT_EQ(1, Tool({"doctor"}).exit_code);
}

TEST_F(DoctorVerbTest, JsonIsTheReply) {
  EXPECT_EQ("{\n \"findings\": []\n}\n", Tool({"doctor", "-o", "json"}).out);
  Find(v1::WARNING, "notrack");
  const Outcome run = Tool({"doctor", "-o", "json"});
  EXPECT_THAT(run.out, HasSubstr("\"severity\": \"WARNING\""));
  EXPECT_THAT(run.out, HasSubstr("\"name\": \"notrack\""));
  EXPECT_THAT(run.out, HasSubstr("\"remedy\": \"Remove it.\""));
}

}  // namespace
}  // namespace postern
