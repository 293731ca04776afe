// How much of the use of live grants a controller has been told.

#ifndef POSTERN_AGENT_LINK_TOLD_USAGE_H_
#define POSTERN_AGENT_LINK_TOLD_USAGE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "postern/v1/controller.pb.h"

namespace postern {

// One thread at a time.
class ToldUsage {
 public:
  // Of `live`, which are all that live, those that have been used since they were told
  // last. They count as told.
  std::vector<v1::GrantReport> News(std::vector<v1::GrantReport> live);

 private:
  // By the grants' ids.
  std::map<std::string, uint64_t> packets_;
};

}  // namespace postern

#endif  // POSTERN_AGENT_LINK_TOLD_USAGE_H_
