#include "agent/firewall/table_change.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace postern {
namespace {

bool Contains(const std::vector<std::string>& texts, const std::string& text) {
  return std::find(texts.begin(), texts.end(), text) != texts.end();
}

}  // namespace

void TableChange::AddWhat(std::string change) {
  if (Contains(what, change)) return;
  if (what.size() < kMostWhat) {
    what.push_back(std::move(change));
  } else {
    more = true;
  }
}

void TableChange::AddWho(std::string process) {
  if (who.size() < kMostWho && !Contains(who, process)) who.push_back(std::move(process));
}

void TableChange::Merge(const TableChange& later) {
  lost = lost || later.lost;
  for (const std::string& change : later.what) AddWhat(change);
  more = more || later.more;
  for (const std::string& process : later.who) AddWho(process);
  noticed = std::min(noticed, later.noticed);
}

std::string TableChange::ToString() const {
  std::vector<std::string> parts = what;
  if (lost) parts.emplace_back("notifications were lost");
  std::string text = absl::StrJoin(parts, ", ");
  if (more) absl::StrAppend(&text, " and more");
  if (!who.empty()) absl::StrAppend(&text, ", by ", absl::StrJoin(who, ", "));
  return text;
}

}  // namespace postern
