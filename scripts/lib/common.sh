# shellcheck shell=bash
# What every script here shares: where the project is, how it speaks, and what
# it needs installed. Sourced, never run.

export LC_ALL=C.UTF-8

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly TOP

# ccache fails without a folder that it can write.
if [[ -z ${CCACHE_DIR:-} && ! -w ${HOME:-/nonexistent} ]]; then
  export CCACHE_DIR=$TOP/build/ccache
fi

# What is compiled in one folder need not be in another.
export CCACHE_BASEDIR=$TOP

# Debian 12's names. One list: configuring the project asks for the test
# libraries as well, whatever is built afterwards.
# shellcheck disable=SC2034  # for those who source this
readonly BUILD_PACKAGES=(
  cmake ninja-build g++ ccache pkg-config
  libabsl-dev libbenchmark-dev libboost1.81-dev libcjose-dev libcli11-dev libgmock-dev libgrpc++-dev libgtest-dev
  libmnl-dev libnftnl-dev libpq-dev libprotobuf-dev libsqlite3-dev libssl-dev libsystemd-dev libyaml-cpp-dev
  nlohmann-json3-dev prometheus-cpp-dev
  protobuf-compiler protobuf-compiler-grpc
  conntrack gcc iproute2 nftables postgresql-15 python3 spin util-linux)
# Of these, those whose archives the programs in the .rpms have inside.
# shellcheck disable=SC2034
readonly LINKED_PACKAGES=(
  libabsl-dev libc-ares-dev libgrpc-dev libprotobuf-dev libre2-dev libstdc++-12-dev libyaml-cpp-dev
  zlib1g-dev)
# For the presets debug and fuzz: the compiler with its sanitizers and libFuzzer, and
# what names the functions in a crash's trace.
# shellcheck disable=SC2034
readonly CLANG_PACKAGES=(clang libclang-rt-14-dev llvm)
# For the packages, and their tests.
# shellcheck disable=SC2034
readonly PACKAGE_PACKAGES=(
  bash-completion binutils build-essential busybox-static debhelper dpkg-dev fish lintian mandoc rpm
  systemd zsh)
# For the tier e2e: what makes the Debian that the tests boot, and boots it.
# shellcheck disable=SC2034
readonly E2E_PACKAGES=(iproute2 mmdebstrap python3 systemd-container util-linux)
# For the tier azure: what installs and runs Azure's client for JavaScript.
# shellcheck disable=SC2034
readonly AZURE_PACKAGES=(iproute2 nodejs npm python3 util-linux)
# And its command line, with what makes the keys that it signs in by.
# shellcheck disable=SC2034
readonly AZURE_CLI_PACKAGES=(azure-cli iproute2 openssl python3 util-linux)
# For the tier boot: an emulated machine and its disk.
# shellcheck disable=SC2034
readonly BOOT_PACKAGES=(e2fsprogs iproute2 mmdebstrap python3 qemu-system-x86 util-linux)

if [[ -t 1 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]]; then
  BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[1;31m' PLAIN=$'\e[0m'
else
  BOLD='' GREEN='' RED='' PLAIN=''
fi
# shellcheck disable=SC2034
readonly BOLD GREEN RED PLAIN

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# run_logged LOG COMMAND...: quiet unless it fails.
run_logged() {
  local log=$1
  shift
  "$@" </dev/null >"$log" 2>&1 && return
  tail -n 60 "$log" >&2
  return 1
}

is_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

apt_get() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

apt_install() {
  apt_get update && apt_get install --no-install-recommends "$@"
}

# need_packages PACKAGE...: installs those that are missing. Without root it
# says which they are, and gives up.
need_packages() {
  local package log missing=()
  command -v dpkg-query >/dev/null ||
    die "this is not Debian; install the equivalents of: $*"
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  ((EUID == 0)) ||
    die "missing packages; as root: apt-get install --no-install-recommends ${missing[*]}"
  printf 'Installing %s\n' "${missing[*]}"
  log=$(mktemp)
  if ! run_logged "$log" apt_install "${missing[@]}" &&
    ! { sleep 5 && run_logged "$log" apt_install "${missing[@]}"; }; then
    rm -f "$log"
    die "installing failed: ${missing[*]}"
  fi
  rm -f "$log"
}

# as_owner COMMAND...: under sudo, as the user who called it where the tree is
# theirs, so that they can go on building in it.
as_owner() {
  local home
  if ((EUID == 0)) && [[ -n ${SUDO_USER:-} && $(stat -c %U "$TOP") == "$SUDO_USER" ]] &&
    [[ $SUDO_USER != root ]]; then
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    runuser -u "$SUDO_USER" -- env HOME="$home" "$@"
  else
    "$@"
  fi
}

# configure PRESET: cmake, quietly.
configure() {
  local log failed=0
  log=$(mktemp)
  (cd "$TOP" && run_logged "$log" as_owner cmake --preset "$1") || failed=1
  rm -f "$log"
  ((!failed)) || die "cmake --preset $1 failed"
}

# build PRESET [TARGET...]: on a terminal ninja shows its progress; elsewhere
# only what fails is shown.
build() {
  local preset=$1 log failed=0
  shift
  printf 'Building %s\n' "$preset${*:+: $*}"
  if [[ -t 1 ]]; then
    as_owner ninja -C "$TOP/build/$preset" "$@" || failed=1
  else
    log=$(mktemp)
    run_logged "$log" as_owner ninja -C "$TOP/build/$preset" "$@" || failed=1
    rm -f "$log"
  fi
  ((!failed)) || die "the $preset build failed"
}
