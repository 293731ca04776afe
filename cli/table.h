// Columns of text, and blocks of named lines.

#ifndef POSTERN_CLI_TABLE_H_
#define POSTERN_CLI_TABLE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace postern {

struct Column {
  std::string title;
  // Whether a terminal that is too narrow may cost it some of its text.
  bool may_shrink = false;
};

// Rows of one cell to a column, each padded to its column's widest, the last
// not at all. Cells must be printable. `width` is what a line may take; 0 is no
// limit. Where shrinking is not enough, lines are longer. Ends with a newline.
std::string RenderTable(const std::vector<Column>& columns,
                        const std::vector<std::vector<std::string>>& rows, int width);

// Lines of "  name   value", aligned. Values must be printable.
class Block {
 public:
  void Add(const std::string& name, const std::string& value) { lines_.push_back({name, value}); }
  std::string Render() const;

 private:
  struct Line {
    std::string name;
    std::string value;
  };
  std::vector<Line> lines_;
};

// The code points of well-formed UTF-8.
size_t DisplayWidth(absl::string_view text);

}  // namespace postern

#endif  // POSTERN_CLI_TABLE_H_
