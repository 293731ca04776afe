// What nf_tables announces about changes. The input is a number that says how
// much belongs to the first datagram, and then two datagrams.

#include "agent/firewall/nft/notifications.h"

#include <cstdint>
#include <string>
#include <utility>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guarded.h"

namespace postern {
namespace {

constexpr uint32_t kOwnPort = 7;
// A name of 64 bytes, each of which may be shown as four, and words around it.
constexpr size_t kMostWords = 64 * 4 + 64;

void CheckChange(const TableChange& change) {
  FUZZ_CHECK(change.what.size() <= TableChange::kMostWhat);
  FUZZ_CHECK(change.who.size() <= TableChange::kMostWho);
  FUZZ_CHECK(!change.more || change.what.size() == TableChange::kMostWhat);
  for (const std::string& what : change.what) FUZZ_CHECK(IsGoodMessage(what, kMostWords));
  for (const std::string& who : change.who) FUZZ_CHECK(IsGoodMessage(who, kMostWords));
  const bool empty = change.what.empty() && !change.lost;
  FUZZ_CHECK(empty == change.ToString().empty());
  FUZZ_CHECK(empty || IsGoodMessage(change.ToString(), 8 * kMostWords));
}

TableChange Heard(const uint8_t* data, size_t size, bool lost) {
  static Guarded& memory = *new Guarded;
  nft::Notifications notifications(kOwnPort);
  const size_t half = data[0] * size_t{4};
  const size_t first = half < size - 1 ? half : size - 1;
  notifications.Take({memory.Copy(data + 1, first), first});
  if (lost) notifications.TakeLoss();
  const size_t second = size - 1 - first;
  notifications.Take({memory.Copy(data + 1 + first, second), second});
  const bool empty = notifications.empty();
  TableChange change = notifications.Finish();
  // Whose it is, is only told of a change.
  FUZZ_CHECK(!empty || change == TableChange());
  FUZZ_CHECK(notifications.empty() && !notifications.awaits_name());
  FUZZ_CHECK(notifications.Finish() == TableChange());
  return change;
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  postern::TableChange change = postern::Heard(data, size, /*lost=*/false);
  postern::CheckChange(change);
  const postern::TableChange lossy = postern::Heard(data, size, /*lost=*/true);
  FUZZ_CHECK(lossy.lost);
  change.Merge(lossy);
  postern::CheckChange(change);
  return 0;
}
