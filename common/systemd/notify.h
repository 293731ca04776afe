// What the service manager is told (sd_notify(3)). Without one, nothing happens.

#ifndef POSTERN_COMMON_SYSTEMD_NOTIFY_H_
#define POSTERN_COMMON_SYSTEMD_NOTIFY_H_

#include "absl/strings/string_view.h"

namespace postern {

// The gate stands and requests are served.
void NotifyReady(absl::string_view status);
// The line that `systemctl status` shows.
void NotifyStatus(absl::string_view status);
// A reload begins; NotifyReady ends it.
void NotifyReloading();
void NotifyStopping();

}  // namespace postern

#endif  // POSTERN_COMMON_SYSTEMD_NOTIFY_H_
