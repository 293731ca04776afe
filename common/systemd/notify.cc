#include "common/systemd/notify.h"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <ctime>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/text.h"

namespace postern {
namespace {

void Notify(const std::string& state) { sd_notify(/*unset_environment=*/0, state.c_str()); }

}  // namespace

void NotifyReady(absl::string_view status) {
  Notify(absl::StrCat("READY=1\nSTATUS=", Printable(status)));
}

void NotifyStatus(absl::string_view status) { Notify(absl::StrCat("STATUS=", Printable(status))); }

void NotifyReloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t microseconds = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  Notify(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", microseconds));
}

void NotifyStopping() { Notify("STOPPING=1"); }

}  // namespace postern
