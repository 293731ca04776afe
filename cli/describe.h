// Replies in words, for people. All that comes from outside is made printable.

#ifndef POSTERN_CLI_DESCRIBE_H_
#define POSTERN_CLI_DESCRIBE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "postern/v1/agent.pb.h"
#include "postern/v1/grant.pb.h"

namespace postern {

// How and when the words are read.
struct Reader {
  absl::TimeZone zone = absl::UTCTimeZone();
  absl::Time now;
  bool colour = false;
  // As in RenderTable.
  int width = 0;
};

// RFC 3339 with the zone's offset, to the second.
std::string DescribeTime(absl::Time time, const Reader& reader);
// "59m58s left", "5m ago".
std::string DescribeDistance(absl::Time time, const Reader& reader);

// Blocks of lines, each with its newline.
std::string DescribeGrant(const v1::Grant& grant, const Reader& reader);
std::string DescribeGrants(const std::vector<v1::Grant>& grants, const Reader& reader);
std::string DescribeStatus(const v1::GetStatusResponse& status, const Reader& reader);
std::string DescribeCheck(const v1::CheckAccessResponse& check, const Reader& reader);
// A table, the source that was seen last first.
std::string DescribeDenied(const v1::ListDeniedResponse& denied, const Reader& reader);
// The findings one after another, each with why it matters and the way out.
std::string DescribeFindings(const v1::DiagnoseResponse& diagnosis, const Reader& reader);
// One line.
std::string DescribeEvent(const v1::AuditEvent& event, const Reader& reader);

}  // namespace postern

#endif  // POSTERN_CLI_DESCRIBE_H_
