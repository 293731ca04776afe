# shellcheck shell=bash
# Read by scripts/quickstart:
# shellcheck disable=SC2034
#
# What stands in the quickstart's namespaces: the VM's listeners and posternd,
# the controller's certificates and posternctl, and those who knock. Sourced
# after common.sh and network.sh.

readonly PORTS=(22 3389 5985 5986)
readonly AGENT_PORT=7443
readonly BIN=$TOP/build/release

# Holds a folder for the VM, the controller, the forger; and the logs.
STAGE=''
# Left in place when the script ends.
KEPT=''
POSTERND=''
# The grant made last.
GRANT='' END='' STATE=''
# The session opened last.
SESSION='' ENDED_HOW='' ENDED_AT=''

set_stage() {
  # Another service's, or for another agent.
  unset NOTIFY_SOCKET WATCHDOG_PID WATCHDOG_USEC POSTERN_SOCKET
  trap '[[ $KEPT ]] || clear_stage' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  STAGE=$(mktemp -d /tmp/postern-quickstart.XXXXXX)
  make_network
  make_certificates
  write_configuration
  start vm "$STAGE/listeners.log" "${PROBE[@]}" listen "$STAGE/listening" "${PORTS[@]}"
  within 5 test -e "$STAGE/listening" ||
    die "the VM's listeners do not start: $(tail -n 1 "$STAGE/listeners.log")"
}

clear_stage() {
  trap '' HUP INT TERM
  stop_all
  remove_network
  [[ -z $STAGE ]] || rm -rf "$STAGE"
}

# What clear_stage should have removed.
left_behind() {
  local who left
  mapfile -t left < <(running)
  for who in "${INHABITANTS[@]}"; do
    [[ ! -e /run/netns/$(namespace "$who") ]] || left+=("$(namespace "$who")")
  done
  [[ ! -e $STAGE ]] || left+=("$STAGE")
  printf '%s' "${left[*]:-nothing left behind}"
}

make_certificates() {
  local pki=("$BIN/cli/posternctl" pki) controller=$STAGE/controller
  mkdir "$STAGE/vm"
  {
    "${pki[@]}" init --dir "$controller"
    "${pki[@]}" agent --dir "$controller" --name vm --address "$VM"
    "${pki[@]}" controller --dir "$controller" --name main
    # The same name, from an authority that the VM does not trust.
    "${pki[@]}" init --dir "$STAGE/forger"
    "${pki[@]}" controller --dir "$STAGE/forger" --name main
  } >"$STAGE/pki.log" 2>&1 || die "posternctl pki failed: $(tail -n 3 "$STAGE/pki.log")"
  mv "$controller"/vm.{pem,key} "$STAGE/vm/"
  cp "$controller/ca.pem" "$STAGE/vm/"
}

write_configuration() {
  cat >"$STAGE/vm/agent.yaml" <<YAML
state_dir: state
socket: agent.sock
listen:
  address: "$VM:$AGENT_PORT"
  from: [${CONTROLLER:?}/32]
  tls: {cert: vm.pem, key: vm.key, ca: ca.pem}
  peers:
    - {san: "spiffe://postern/controller/main", role: controller}
YAML
}

start_posternd() {
  start vm "$STAGE/posternd.log" "$BIN/agent/posternd" --config "$STAGE/vm/agent.yaml"
  POSTERND=$STARTED
}

posternd_answers_or_is_gone() {
  call_as controller status || is_gone "$POSTERND"
}

await_posternd() {
  within 10 posternd_answers_or_is_gone || true
  if ctl status >/dev/null; then printf 'answers over mTLS'; else printf 'does not answer'; fi
}

# call_as FOLDER ARGUMENT...: posternctl at the controller, with that folder's key.
call_as() {
  local keys=$STAGE/$1
  shift
  at controller env POSTERN_ADDRESS="$VM:$AGENT_PORT" POSTERN_CA="$STAGE/controller/ca.pem" \
    POSTERN_CERT="$keys/main.pem" POSTERN_KEY="$keys/main.key" \
    "$BIN/cli/posternctl" --timeout 5s "$@"
}

ctl() {
  call_as controller "$@" 2>>"$STAGE/posternctl.log"
}

# Debian's own Python, whatever else is in the path.
readonly PROBE=(/usr/bin/python3 -I "$TOP/scripts/lib/probe.py")

# probe_at WHO COMMAND...: its last line, which may be an error.
probe_at() {
  local who=$1
  shift
  at "$who" "${PROBE[@]}" "$@" 2>&1 | tail -n 1 || true
}

# read_answer WHAT [ARGUMENT...]: of posternctl's JSON; nothing where there is none.
read_answer() {
  "${PROBE[@]}" "$@" 2>/dev/null || true
}

# knock WHO [PORT]: which of the VM's guarded ports answer.
knock() {
  local who=$1
  shift
  (($#)) || set -- "${PORTS[@]}"
  probe_at "$who" connect "$VM" "$@"
}

# grant DURATION: port 22 for the controller. A refusal leaves STATE empty.
grant() {
  local answer
  GRANT='' END='' STATE=''
  answer=$(ctl grant --from "$CONTROLLER" --port 22 --for "$1" --justification quickstart \
    -o json) || return 0
  read -r GRANT END STATE < <(read_answer field id end_time state <<<"$answer") || true
}

forged_grant() {
  if call_as forger grant --from "$CONTROLLER" --port 22 --for 1m >/dev/null 2>&1; then
    printf 'accepted'
  else
    printf 'refused'
  fi
}

# check ADDRESS PORT: "allowed" or "denied".
check() {
  local answer
  answer=$(ctl check --from "$1" --port "$2") || true
  printf '%s' "${answer%%[ :]*}"
}

# "COUNT, of SOURCES"
live_grants() {
  ctl grants -o json | read_answer live
}

# Whether nft, which other programs share, shows the last grant.
in_kernel() {
  local table
  table=$(at vm nft -n list table inet postern 2>&1) || true
  if [[ $table == *" $CONTROLLER . 6 . 22 "* ]]; then printf 'listed'; else printf 'not listed'; fi
}

state_of() {
  ctl grants --all -o json | read_answer state "$1"
}

now_ms() {
  date +%s%3N
}

open_session() {
  start controller "$STAGE/session.log" "${PROBE[@]}" session "$VM" 22
  SESSION=$STARTED
  within 2 grep -q connected "$STAGE/session.log"
}

# Sets ENDED_HOW and ENDED_AT, in ms since the epoch.
await_end_of_session() {
  wait "$SESSION" || true
  read -r ENDED_HOW ENDED_AT < <(tail -n 1 "$STAGE/session.log")
}

show_logs() {
  local log
  for log in posternd posternctl listeners controller curl; do
    [[ -s $STAGE/$log.log ]] || continue
    printf '\n%s says:\n' "$log"
    tail -n 15 "$STAGE/$log.log" | sed 's/^/  /'
  done
}

# Writes a command for each namespace, and one to end it all.
keep_stage() {
  local who
  mkdir "$STAGE/bin"
  ln -s "$BIN/cli/posternctl" "$STAGE/bin/posternctl"
  write_command bin/knock "exec ${PROBE[*]@Q} connect $VM \"\${@:-22}\""
  for who in "${INHABITANTS[@]}"; do
    write_command "at-$who" "export PATH=$STAGE/bin:\$PATH" "$(environment_of "$who")" \
      "exec nsenter ${INSIDE[$who]} \"\$@\""
  done
  write_command clean-up "for name in ${INHABITANTS[*]/%/-$$}; do
  ip netns pids postern-\$name | xargs -r kill
  ip netns delete postern-\$name
done
rm -r $STAGE"
  KEPT=yes
}

environment_of() {
  case $1 in
    vm) printf 'export POSTERN_SOCKET=%q' "$STAGE/vm/agent.sock" ;;
    controller)
      if [[ ${FLEET:-} ]]; then
        printf 'export POSTERN_CONTROLLER=https://%s:%s POSTERN_CA=%q POSTERN_TOKEN_FILE=%q' \
          "$CONTROLLER" "$REST_PORT" "$STAGE/fleet/state/ca.pem" "$STAGE/fleet/state/owner.token"
        return
      fi
      printf 'export POSTERN_ADDRESS=%s:%s POSTERN_CA=%s/ca.pem POSTERN_CERT=%s/main.pem' \
        "$VM" "$AGENT_PORT" "$STAGE/controller" "$STAGE/controller"
      printf ' POSTERN_KEY=%s/main.key' "$STAGE/controller"
      ;;
  esac
}

write_command() {
  local path=$STAGE/$1
  shift
  printf '%s\n' '#!/bin/sh' "$@" >"$path"
  chmod +x "$path"
}

explain_controller() {
  if [[ ${FLEET:-} ]]; then
    printf '  ./at-controller posternctl %s\n' 'vm list' 'request create --vm vm --port 22 --for 5m --wait' \
      'request list' 'audit'
  else
    printf '  ./at-controller posternctl %s\n' "grant --from $CONTROLLER --port 22 --for 5m" grants
  fi
}

explain_stage() {
  cat <<TEXT

It is all still there. As root:

  cd $STAGE
  ./at-controller knock 22 3389             what the controller reaches
$(explain_controller)
  ./at-stranger knock 22                    what the stranger reaches
  ./at-vm posternctl status                 on the local socket
  ./at-vm nft list table inet postern       what the kernel holds
  ./clean-up                                when done
TEXT
}
