# shellcheck shell=bash
# The quickstart's lines: what was tried, what was expected, what happened.
# Sourced after common.sh.

STEPS=0
FAILED=0
readonly LINE='%2s  %-39s  %-23s  %-27s  %s\n'

print_heading() {
  # shellcheck disable=SC2059
  printf "\n$BOLD$LINE$PLAIN" '' tried expected happened ''
}

# judge TRIED EXPECTED HAPPENED COMMAND...: it held if the command succeeds.
judge() {
  local tried=$1 expected=$2 happened=$3 verdict="${GREEN}ok$PLAIN"
  shift 3
  STEPS=$((STEPS + 1))
  if ! "$@"; then
    verdict="${RED}FAILED$PLAIN"
    FAILED=$((FAILED + 1))
  fi
  # shellcheck disable=SC2059
  printf "$LINE" "$STEPS" "$tried" "$expected" "${happened:-no answer}" "$verdict"
}

# expect TRIED EXPECTED HAPPENED: it held if both are the same.
expect() {
  judge "$1" "$2" "$3" test "$2" = "$3"
}
