#include "cli/failure.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace postern {
namespace {

TEST(ExitCodeFor, EachCode) {
  struct Case {
    absl::StatusCode code;
    int exit_code;
  };
  const Case cases[] = {
      {absl::StatusCode::kOk, 0},
      {absl::StatusCode::kCancelled, 1},
      {absl::StatusCode::kUnknown, 1},
      {absl::StatusCode::kInvalidArgument, 2},
      {absl::StatusCode::kDeadlineExceeded, 1},
      {absl::StatusCode::kNotFound, 3},
      {absl::StatusCode::kAlreadyExists, 1},
      {absl::StatusCode::kPermissionDenied, 1},
      {absl::StatusCode::kResourceExhausted, 1},
      {absl::StatusCode::kFailedPrecondition, 1},
      {absl::StatusCode::kAborted, 1},
      {absl::StatusCode::kOutOfRange, 1},
      {absl::StatusCode::kUnimplemented, 1},
      {absl::StatusCode::kInternal, 1},
      {absl::StatusCode::kUnavailable, 1},
      {absl::StatusCode::kDataLoss, 1},
      {absl::StatusCode::kUnauthenticated, 1},
  };
  for (const Case& c : cases) EXPECT_EQ(c.exit_code, ExitCodeFor(c.code)) << c.exit_code;
}

std::string Details(const std::vector<std::pair<std::string, std::string>>& violations) {
  google::rpc::BadRequest bad;
  for (const auto& [field, description] : violations) {
    bad.add_field_violations()->set_field(field);
    bad.mutable_field_violations()->rbegin()->set_description(description);
  }
  google::rpc::Status details;
  details.add_details()->PackFrom(bad);
  return details.SerializeAsString();
}

std::string Described(const std::string& message,
                      const std::vector<std::pair<std::string, std::string>>& violations) {
  return DescribeFailure(
      ServerFailure(absl::StatusCode::kInvalidArgument, message, Details(violations), ""));
}

TEST(DescribeFailure, PutsViolationsUnderTheirOptions) {
  EXPECT_EQ(
      "posternctl: bad request\n"
      "  --from: host bits\n"
      "  --port: 0 is not a port\n"
      "  --for: must be greater than zero\n"
      "  odd\\x0afield: x\n",
      Described("bad request", {{"source_prefixes[3]", "host bits"},
                                {"ports[1].number", "0 is not a port"},
                                {"duration", "must be greater than zero"},
                                {"odd\nfield", "x"}}));
}

TEST(DescribeFailure, SaysTheSameThingOnce) {
  EXPECT_EQ("posternctl: --until: is in the past\n",
            Described("not_after: is in the past", {{"not_after", "is in the past"}}));
}

TEST(DescribeFailure, NothingFromOutsideSteersTheTerminal) {
  EXPECT_EQ("posternctl: a\\x0ab\\x1b[2J\n  --from: \\u{202e}\n",
            Described("a\nb\033[2J", {{"source_prefixes", "\xe2\x80\xae"}}));
}

TEST(DescribeFailure, SurvivesBrokenDetailsAndEmptyMessages) {
  EXPECT_EQ("posternctl: INTERNAL\n  try again\n",
            DescribeFailure(
                ServerFailure(absl::StatusCode::kInternal, "", "\xff\xff garbage", "try again")));
}

}  // namespace
}  // namespace postern
