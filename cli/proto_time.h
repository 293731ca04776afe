// Between absl's and protobuf's times and durations.

#ifndef POSTERN_CLI_PROTO_TIME_H_
#define POSTERN_CLI_PROTO_TIME_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include "absl/time/time.h"

namespace postern {

google::protobuf::Timestamp ToProto(absl::Time time);
google::protobuf::Duration ToProto(absl::Duration duration);
absl::Time FromProto(const google::protobuf::Timestamp& timestamp);
absl::Duration FromProto(const google::protobuf::Duration& duration);

}  // namespace postern

#endif  // POSTERN_CLI_PROTO_TIME_H_
