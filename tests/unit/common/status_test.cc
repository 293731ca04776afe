#include "common/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "absl/status/statusor.h"

namespace postern {
namespace {

using ::testing::HasSubstr;

TEST(Annotate, KeepsCodeAndPayloads) {
  const absl::Status status = Annotate(FieldError("ports", "is empty"), "grant 7");
  EXPECT_EQ(absl::StatusCode::kInvalidArgument, status.code());
  EXPECT_EQ("grant 7: ports: is empty", status.message());
  EXPECT_EQ("ports", FieldOf(status));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "anything").ok());
}

TEST(ErrnoStatus, NamesTheThingAndTheReason) {
  const absl::Status status = ErrnoStatus(ENOENT, "agent.yaml");
  EXPECT_EQ(absl::StatusCode::kNotFound, status.code());
  EXPECT_THAT(status.message(), HasSubstr("agent.yaml: "));
  EXPECT_THAT(status.message(), HasSubstr("No such file"));
}

TEST(FieldOf, IsEmptyForOtherErrors) {
  EXPECT_EQ("", FieldOf(absl::InternalError("broken")));
  EXPECT_EQ("", FieldOf(absl::OkStatus()));
}

absl::StatusOr<int> Half(absl::StatusOr<int> number) {
  POSTERN_ASSIGN_OR_RETURN(const int whole, std::move(number));
  return whole / 2;
}

absl::Status FirstOf(const absl::Status& first, const absl::Status& second) {
  POSTERN_RETURN_IF_ERROR(first);
  return second;
}

TEST(Macros, ReturnTheFirstError) {
  EXPECT_EQ(21, Half(42).value());
  EXPECT_TRUE(absl::IsAborted(Half(absl::AbortedError("stop")).status()));
  EXPECT_TRUE(absl::IsAborted(FirstOf(absl::AbortedError("1"), absl::InternalError("2"))));
  EXPECT_TRUE(absl::IsInternal(FirstOf(absl::OkStatus(), absl::InternalError("2"))));
}

}  // namespace
}  // namespace postern
