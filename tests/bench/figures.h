// What was measured: samples, their quantiles, and the table of results.

#ifndef POSTERN_TESTS_BENCH_FIGURES_H_
#define POSTERN_TESTS_BENCH_FIGURES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace postern::bench {

class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  // The smallest sample that at least the share `q` of all do not exceed; 0
  // without samples.
  double Quantile(double q) const;
  double Max() const { return Quantile(1); }
  size_t size() const { return values_.size(); }

 private:
  std::vector<double> values_;
};

struct Target {
  double bound;
  bool at_least = false;
};

class Figures {
 public:
  void Add(std::string name, double value, std::string unit, std::optional<Target> target = {});

  // name<TAB>value<TAB>unit, one line a figure.
  std::string Tsv() const;
  // For people, with the targets.
  std::string Table() const;

 private:
  struct Figure {
    std::string name;
    double value;
    std::string unit;
    std::optional<Target> target;
  };
  std::vector<Figure> figures_;
};

}  // namespace postern::bench

#endif  // POSTERN_TESTS_BENCH_FIGURES_H_
