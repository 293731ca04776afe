#include "agent/link/told_usage.h"

#include <utility>

namespace postern {

std::vector<v1::GrantReport> ToldUsage::News(std::vector<v1::GrantReport> live) {
  std::map<std::string, uint64_t> packets;
  std::vector<v1::GrantReport> news;
  for (v1::GrantReport& report : live) {
    const uint64_t used = report.usage().packets();
    packets[report.id()] = used;
    const auto told = packets_.find(report.id());
    if (used > (told == packets_.end() ? 0 : told->second)) news.push_back(std::move(report));
  }
  packets_ = std::move(packets);
  return news;
}

}  // namespace postern
