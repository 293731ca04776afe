// What the doctor finds.

#ifndef POSTERN_AGENT_DOCTOR_FINDING_H_
#define POSTERN_AGENT_DOCTOR_FINDING_H_

#include <cstdint>
#include <string>

namespace postern {

enum class Severity : uint8_t {
  // Worth knowing.
  kNotice,
  // Some grants may be void, or some traffic unguarded.
  kWarning,
  // Grants are void, or the gate is pointless.
  kCritical,
};

// Each text is one or a few whole sentences without a newline, printable.
struct Finding {
  Severity severity = Severity::kNotice;
  // Stable, such as "foreign-drop".
  std::string name = {};
  // What was found, with the object's name.
  std::string finding = {};
  // Why it matters.
  std::string consequence = {};
  // The way out.
  std::string remedy = {};
  friend bool operator==(const Finding&, const Finding&) = default;
};

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_FINDING_H_
