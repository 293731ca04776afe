#include "common/uuid.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(Uuid, NewOnesDifferAndReadBack) {
  const std::string first = NewUuid();
  EXPECT_EQ(36U, first.size());
  EXPECT_EQ('4', first[14]);
  EXPECT_NE(first, NewUuid());
  EXPECT_EQ(first, ParseUuid(first).value());
}

TEST(Uuid, IsWrittenInLowerCase) {
  EXPECT_EQ("6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11",
            ParseUuid("6F0C1D52-3C44-4B0E-9A53-0D2F1B7A8C11").value());
}

TEST(Uuid, RefusesOtherForms) {
  const char* cases[] = {"",
                         "6f0c1d523c444b0e9a530d2f1b7a8c11",
                         "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c1",
                         "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c111",
                         "6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c1g",
                         "6f0c1d52+3c44+4b0e+9a53+0d2f1b7a8c11",
                         "{6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c}",
                         "' OR 1=1; --"};
  for (const char* text : cases) {
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, ParseUuid(text).status().code()) << text;
  }
  EXPECT_FALSE(ParseUuid(std::string("6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c1\0", 36)).ok());
}

}  // namespace
}  // namespace postern
