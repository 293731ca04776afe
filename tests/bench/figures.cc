#include "tests/bench/figures.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"

namespace postern::bench {

double Samples::Quantile(double q) const {
  if (values_.empty()) return 0;
  std::vector<double> sorted = values_;
  const auto rank = static_cast<size_t>(std::ceil(q * static_cast<double>(sorted.size())));
  const size_t index = std::clamp<size_t>(rank, 1, sorted.size()) - 1;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(index),
                   sorted.end());
  return sorted[index];
}

void Figures::Add(std::string name, double value, std::string unit, std::optional<Target> target) {
  figures_.push_back({std::move(name), value, std::move(unit), target});
}

std::string Figures::Tsv() const {
  std::string text;
  for (const Figure& figure : figures_) {
    absl::StrAppendFormat(&text, "%s\t%.6g\t%s\n", figure.name, figure.value, figure.unit);
  }
  return text;
}

std::string Figures::Table() const {
  std::string text;
  for (const Figure& figure : figures_) {
    absl::StrAppendFormat(&text, "%-40s %10.4g %-8s", figure.name, figure.value, figure.unit);
    if (figure.target) {
      const bool held = figure.target->at_least ? figure.value >= figure.target->bound
                                                : figure.value <= figure.target->bound;
      absl::StrAppendFormat(&text, " %s %g: %s",
                            figure.target->at_least ? ">=" : "<=", figure.target->bound,
                            held ? "held" : "MISSED");
    }
    text += '\n';
  }
  return text;
}

}  // namespace postern::bench
