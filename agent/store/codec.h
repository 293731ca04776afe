// How lists and times stand in the database: as text and integers that a person
// with the sqlite3 tool can read.

#ifndef POSTERN_AGENT_STORE_CODEC_H_
#define POSTERN_AGENT_STORE_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/grants/grant.h"
#include "common/prefix.h"

namespace postern {

// "203.0.113.7/32 2001:db8::/64"
std::string EncodePrefixes(const std::vector<Prefix>& prefixes);
absl::StatusOr<std::vector<Prefix>> DecodePrefixes(absl::string_view text);

// "22/tcp 3389/any"
std::string EncodePorts(const std::vector<Port>& ports);
absl::StatusOr<std::vector<Port>> DecodePorts(absl::string_view text);

// Nanoseconds, since the Unix epoch for times: good until the year 2262.
int64_t EncodeTime(absl::Time time);
absl::Time DecodeTime(int64_t nanoseconds);
std::optional<int64_t> EncodeTime(const std::optional<absl::Time>& time);
std::optional<absl::Time> DecodeTime(const std::optional<int64_t>& nanoseconds);
std::optional<int64_t> EncodeDuration(const std::optional<absl::Duration>& duration);
std::optional<absl::Duration> DecodeDuration(const std::optional<int64_t>& nanoseconds);

}  // namespace postern

#endif  // POSTERN_AGENT_STORE_CODEC_H_
