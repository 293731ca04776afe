#include "common/text.h"

#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

TEST(Printable, EscapesWhatCouldSteerATerminalOrForgeALine) {
  struct Case {
    std::string text;
    const char* printed;
  };
  const Case cases[] = {
      {"plain text, 42", "plain text, 42"},
      {"Grüße, 世界 🔑", "Grüße, 世界 🔑"},
      {"a\nb\r\tc", "a\\x0ab\\x0d\\x09c"},
      {"\033[31mred", "\\x1b[31mred"},
      {std::string("a\0b", 3), "a\\x00b"},
      {"\x7f", "\\x7f"},
      {"\xc2\x9b", "\\u{009b}"},
      {"\xe2\x80\xae", "\\u{202e}"},
      {"\xe2\x81\xa6", "\\u{2066}"},
      {"\xe2\x80\xa8", "\\u{2028}"},
      {"\xff", "\\xff"},
      {"\xc3", "\\xc3"},
      {"\xc0\xaf", "\\xc0\\xaf"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
      {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
      {"", ""},
  };
  for (const Case& c : cases) EXPECT_EQ(c.printed, Printable(c.text));
}

TEST(IsUtf8, FollowsRfc3629) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("Grüße\n"));
  EXPECT_TRUE(IsUtf8("\xf4\x8f\xbf\xbf"));
  const char* bad[] = {"\x80",
                       "\xc3",
                       "\xc3(",
                       "\xc0\x80",
                       "\xe0\x80\x80",
                       "\xed\xbf\xbf",
                       "\xf0\x80\x80\x80",
                       "\xf5\x80\x80\x80",
                       "a\xfe"};
  for (const char* text : bad) EXPECT_FALSE(IsUtf8(text)) << Printable(text);
}

}  // namespace
}  // namespace postern
