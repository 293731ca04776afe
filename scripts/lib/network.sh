# shellcheck shell=bash
# Three network namespaces that know only one another: the VM with a cable to
# the controller and one to the stranger. Sourced after common.sh.
#
# Everything made here is in the namespaces: the root namespace gets no
# interface, no address and no rule.

# The addresses are from the blocks for documentation (RFC 5737).
readonly VM=192.0.2.10 CONTROLLER=198.51.100.10 STRANGER=203.0.113.66

# Who joins: the namespaces are called postern-WHO-PID.
readonly INHABITANTS=(vm controller stranger)

namespace() {
  printf 'postern-%s-%s' "$1" "$$"
}

# nsenter's argument for each. nsenter rather than "ip netns exec" and "ip -n",
# which mount another /sys; and before the program itself rather than in a
# function, so that $! is the program.
declare -A INSIDE=()

make_network() {
  local who
  for who in "${INHABITANTS[@]}"; do
    ip netns add "$(namespace "$who")"
    INSIDE[$who]=--net=/run/netns/$(namespace "$who")
    at "$who" ip link set lo up
  done
  lay_cable controller "$CONTROLLER"
  lay_cable stranger "$STRANGER"
}

# lay_cable WHO ADDRESS: one veth pair, an address at each end.
lay_cable() {
  local who=$1 address=$2
  at vm ip link add "$who" type veth peer name vm netns "$(namespace "$who")"
  at vm ip address add "$VM" peer "$address" dev "$who"
  at "$who" ip address add "$address" peer "$VM" dev vm
  at vm ip link set "$who" up
  at "$who" ip link set vm up
}

remove_network() {
  local who
  for who in "${INHABITANTS[@]}"; do
    [[ ! -e /run/netns/$(namespace "$who") ]] || ip netns delete "$(namespace "$who")"
  done
}

# start WHO LOG COMMAND...: in the background in WHO's namespace, in a session of
# its own, so that an interrupt at the terminal reaches this script alone. The
# id is in STARTED.
start() {
  local who=$1 log=$2
  shift 2
  setsid nsenter "${INSIDE[$who]}" "$@" </dev/null >>"$log" 2>&1 &
  # shellcheck disable=SC2034
  STARTED=$!
}

# at WHO COMMAND...: the same in the foreground.
at() {
  local who=$1
  shift
  nsenter "${INSIDE[$who]}" "$@"
}

# The ids of what was started and still runs.
running() {
  jobs -pr
}

# stop PID [SIGNAL]: ends with SIGKILL what has not ended 3 s after SIGNAL.
stop() {
  local pid=$1
  # How it ended is not worth a line of the shell's.
  disown "$pid"
  kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
  within 3 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
  within 3 is_gone "$pid" || true
}

is_gone() {
  ! kill -0 "$1"
}

stop_all() {
  local pid
  for pid in $(running); do stop "$pid"; done
}

# within SECONDS COMMAND...: tries until it succeeds, quietly.
within() {
  local end=$((SECONDS + $1 + 1))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || return 1
    sleep 0.02
  done
}
