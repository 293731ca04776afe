#include "cli/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace postern {
namespace {

constexpr size_t kGap = 2;
// What a shrunken column keeps at least.
constexpr size_t kNarrowest = 8;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// `text` cut to `width` code points, the last of them an ellipsis.
std::string Truncated(const std::string& text, size_t width) {
  if (DisplayWidth(text) <= width) return text;
  size_t points = 0;
  size_t bytes = 0;
  for (; bytes < text.size(); ++bytes) {
    if (IsContinuation(text[bytes])) continue;
    if (++points == width) break;
  }
  return absl::StrCat(text.substr(0, bytes), "…");
}

// Takes from the widest column that may shrink until the line fits.
void Shrink(const std::vector<Column>& columns, std::vector<size_t>& widths, size_t limit) {
  size_t total = kGap * (columns.size() - 1);
  for (const size_t width : widths) total += width;
  while (total > limit) {
    size_t widest = columns.size();
    for (size_t i = 0; i < columns.size(); ++i) {
      if (!columns[i].may_shrink || widths[i] <= kNarrowest) continue;
      if (widest == columns.size() || widths[i] > widths[widest]) widest = i;
    }
    if (widest == columns.size()) return;
    --widths[widest];
    --total;
  }
}

}  // namespace

std::string Block::Render() const {
  size_t widest = 0;
  for (const Line& line : lines_) widest = std::max(widest, line.name.size());
  std::string out;
  for (const Line& line : lines_) {
    absl::StrAppend(&out, "  ", line.name, std::string(widest - line.name.size() + 3, ' '),
                    line.value, "\n");
  }
  return out;
}

size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

std::string RenderTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows, int width) {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns.size(); ++i) {
    size_t widest = DisplayWidth(columns[i].title);
    for (const auto& row : rows) widest = std::max(widest, DisplayWidth(row[i]));
    widths.push_back(widest);
  }
  if (width > 0) Shrink(columns, widths, static_cast<size_t>(width));

  std::string out;
  const auto add_line = [&](const auto& cell_of) {
    for (size_t i = 0; i < columns.size(); ++i) {
      const std::string cell = Truncated(cell_of(i), widths[i]);
      absl::StrAppend(&out, cell);
      if (i + 1 < columns.size()) out.append(widths[i] - DisplayWidth(cell) + kGap, ' ');
    }
    out += '\n';
  };
  add_line([&](size_t i) { return columns[i].title; });
  for (const auto& row : rows) {
    add_line([&](size_t i) { return row[i]; });
  }
  return out;
}

}  // namespace postern
