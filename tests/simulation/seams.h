// Where a planted bug is put between the daemon and its machine. seams.cc puts
// nothing there; each program of planted/ has its own.

#ifndef POSTERN_TESTS_SIMULATION_SEAMS_H_
#define POSTERN_TESTS_SIMULATION_SEAMS_H_

#include <memory>

#include "agent/firewall/firewall.h"
#include "agent/store/store.h"

namespace postern::simulation {

// What a daemon gets for a firewall or a store; null for the machine's own. It
// lives as long as the daemon.
std::unique_ptr<Firewall> FirewallSeam(Firewall& firewall);
std::unique_ptr<Store> StoreSeam(Store& store);

}  // namespace postern::simulation

#endif  // POSTERN_TESTS_SIMULATION_SEAMS_H_
