// Each kind of line has its entry in the journal's catalog, and only these have.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/app/journal.h"
#include "postern/v1/agent.pb.h"
#include "tests/support/grants.h"

namespace postern {
namespace {

using testing::AnyOfArray;
using testing::Contains;
using testing::ContainsRegex;
using testing::Each;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;
using testing::UnorderedElementsAreArray;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match) {
    found.push_back((*match)[1]);
  }
  return found;
}

std::vector<std::string> IdsInCode() {
  return Matches(ReadFile(JOURNAL_KINDS ".h") + ReadFile(JOURNAL_KINDS ".cc"),
                 "\"([0-9a-f]{32})\"");
}

struct Entry {
  std::map<std::string, std::string> header;
  std::string body;
};

// By message id. An id that comes twice, and what is out of its place, fails the
// test: journalctl --update-catalog would leave it out and say nothing.
std::map<std::string, Entry> Catalog() {
  std::map<std::string, Entry> entries;
  Entry* entry = nullptr;
  bool in_header = false;
  for (const absl::string_view line : absl::StrSplit(ReadFile(CATALOG), '\n')) {
    const std::string text(line);
    if (absl::StartsWith(line, "#")) continue;
    if (absl::StartsWith(line, "-- ")) {
      EXPECT_THAT(text, MatchesRegex("-- [0-9a-f]{32}"));
      const auto [place, is_new] = entries.try_emplace(text.substr(3));
      EXPECT_TRUE(is_new) << text;
      entry = &place->second;
      in_header = true;
    } else if (entry == nullptr) {
      EXPECT_EQ(text, "") << "before the first entry";
    } else if (in_header && line.empty()) {
      in_header = false;
    } else if (in_header) {
      const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(": ", 1));
      EXPECT_THAT(parts, SizeIs(2)) << text;
      entry->header[parts.front()] = parts.back();
    } else {
      absl::StrAppend(&entry->body, line, "\n");
    }
  }
  return entries;
}

TEST(CatalogTest, HasAnEntryForEachMessageIdAndNoOther) {
  const std::vector<std::string> in_code = IdsInCode();
  ASSERT_THAT(in_code, Not(IsEmpty()));
  std::vector<std::string> in_catalog;
  for (const auto& [id, entry] : Catalog()) in_catalog.push_back(id);
  // As sequences: an id that two kinds share is told as well.
  EXPECT_THAT(in_code, UnorderedElementsAreArray(in_catalog));
}

TEST(CatalogTest, EachEntrySaysWhatItMeansAndWhereToReadOn) {
  for (const auto& [id, entry] : Catalog()) {
    SCOPED_TRACE(id);
    EXPECT_THAT(entry.header, Contains(testing::Key("Subject")));
    EXPECT_THAT(entry.header, Contains(testing::Pair("Defined-By", "postern-agent")));
    EXPECT_THAT(entry.header, Contains(testing::Pair("Documentation", StartsWith("man:"))));
    EXPECT_THAT(entry.body, ContainsRegex("[a-z)]\\.\n"));
  }
}

// The names of the fields that the lines with this message id have.
std::map<std::string, std::set<std::string>> FieldsById() {
  std::vector<LogLine> lines = {DeniedLine(Key("203.0.113.7", 22), true), UncoveredLine(Flow())};
  for (int number = v1::AuditKind_MIN + 1; number <= v1::AuditKind_MAX; ++number) {
    AuditEvent event;
    event.kind = static_cast<AuditKind>(number);
    event.actor = "local";
    if (absl::StartsWith(KindOf(event.kind).event, "GRANT_")) event.grant_id = Id(1);
    lines.push_back(LineOf(event));
  }
  std::map<std::string, std::set<std::string>> fields;
  for (const LogLine& line : lines) {
    std::set<std::string>& names = fields[line.fields.front().second];
    for (const auto& [name, value] : line.fields) names.insert(name);
  }
  return fields;
}

// Another name would stay in the text as it is.
TEST(CatalogTest, NamesFieldsThatItsLinesHave) {
  std::map<std::string, std::set<std::string>> fields = FieldsById();
  for (const auto& [id, entry] : Catalog()) {
    SCOPED_TRACE(id);
    const std::string text = absl::StrCat(entry.header.at("Subject"), "\n", entry.body);
    EXPECT_THAT(Matches(text, "@([A-Z_]+)@"), Each(AnyOfArray(fields[id])));
  }
}

}  // namespace
}  // namespace postern
