// What a line says to a program that reads it.

#include "common/systemd/log.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

const absl::Time kTime = absl::FromUnixMicros(1'767'366'245'000'042);

std::string Json(LogLine line) { return ToJson(line, kTime); }

TEST(ToJsonTest, IsOneObjectOnOneLine) {
  EXPECT_EQ(Json({.priority = Priority::kWarning,
                  .message = "the gate: disarmed",
                  .fields = {{"POSTERN_EVENT", "DISARMED"}}}),
            R"({"TIMESTAMP":"2026-01-02T15:04:05.000042Z","PRIORITY":"4",)"
            R"("MESSAGE":"the gate: disarmed","POSTERN_EVENT":"DISARMED"})");
}

TEST(ToJsonTest, ANameThatComesOftenHasAllItsValuesInOrder) {
  EXPECT_EQ(Json({.message = "m",
                  .fields = {{"PORT", "22"}, {"ONE", "1"}, {"PORT", "80"}, {"PORT", "22"}}}),
            R"({"TIMESTAMP":"2026-01-02T15:04:05.000042Z","PRIORITY":"6","MESSAGE":"m",)"
            R"("PORT":["22","80","22"],"ONE":"1"})");
}

// It can neither end its line nor its string, steer a terminal that shows the
// file, or break whoever expects UTF-8.
TEST(ToJsonTest, WhatComesFromOutsideStaysWithinItsString) {
  EXPECT_EQ(Json({.message = "a\"b\\c\nd",
                  .fields = {{"NAME", "x\",\"PRIORITY\":\"0\r\x1b[2J\xff\u202e"}}}),
            R"({"TIMESTAMP":"2026-01-02T15:04:05.000042Z","PRIORITY":"6",)"
            R"("MESSAGE":"a\"b\\c\\x0ad",)"
            R"("NAME":"x\",\"PRIORITY\":\"0\\x0d\\x1b[2J\\xff\\u{202e}"})");
}

}  // namespace
}  // namespace postern
