#!/bin/sh
# Builds SecondKey from this checkout and installs one file: PREFIX/bin/secondkey.
#
#   ./install.sh                 build and install into ~/.local/bin
#   ./install.sh --prefix DIR    install into DIR/bin
#   ./install.sh --demo          the same, then run `secondkey demo`
#   ./install.sh --debug         build faster, run slower: for a first look
#   ./install.sh --check         only see (and install) what a build needs
#   ./install.sh --uninstall     remove PREFIX/bin/secondkey
#   ./install.sh --separate      Linux, as root: install into /usr/local/bin, with an OS user, folders and a
#                                systemd unit for `secondkey agent`; with --uninstall, remove unit and binary
#   --client USER                with --separate: let this user connect to the agent; repeatable
#   --dry-run                    with --separate: only say what would be done
#   --yes                        install missing packages without asking
#
# What is missing is installed with apt-get when this runs as root, after asking when there is somebody
# to ask; else it is named. Rust itself is never installed. With SECONDKEY_BINARY=FILE, that file is
# installed and nothing is built. Running it again replaces the file.
set -eu
cd "$(dirname "$0")"

needs_rust=1.94
prefix=
profile=release demo=no check=no uninstall=no yes=no separate=no dry=no clients=

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -gt 1 ] && [ -n "$2" ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
    --prefix=?*) prefix=${1#--prefix=} ;;
    --separate) separate=yes ;;
    --client) [ $# -gt 1 ] || fail "--client needs a user"; clients="$clients $2"; shift ;;
    --dry-run) dry=yes ;;
    --demo) demo=yes ;;
    --debug) profile=debug ;;
    --check) check=yes ;;
    --uninstall) uninstall=yes ;;
    --yes | -y) yes=yes ;;
    --help | -h) sed -n '2,18s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  shift
done
if [ $separate = no ]; then
  [ $dry = no ] && [ -z "$clients" ] || fail "--client and --dry-run belong to --separate"
  prefix=${prefix:-${HOME:-/root}/.local}
else
  prefix=${prefix:-/usr/local}
fi
installed=$prefix/bin/secondkey

# --- what a build needs --------------------------------------------------------------------------

# Names a package for the package manager that is here, or for all that we know.
name_package() { # apt, dnf, brew
  if command -v apt-get >/dev/null 2>&1; then say "  sudo apt-get install $1"
  elif command -v dnf >/dev/null 2>&1; then say "  sudo dnf install $2"
  elif command -v brew >/dev/null 2>&1; then say "  brew install $3"
  else
    say "  Debian, Ubuntu: sudo apt-get install $1"
    say "  Fedora:         sudo dnf install $2"
    say "  macOS:          brew install $3"
  fi
}

agreed() {
  [ $yes = no ] && [ -t 0 ] || return 0
  printf 'Install %s with apt-get? [Y/n] ' "$1"
  read -r answer
  case $answer in n* | N*) return 1 ;; *) return 0 ;; esac
}

# Installs a package when this may; fails otherwise.
apt_install() {
  command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && agreed "$*" || return 1
  say "Installing $* with apt-get."
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
}

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] && return 0
  for file in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* /usr/lib/libclang*.so* /usr/lib64/libclang*.so* \
    /usr/lib64/llvm*/lib/libclang*.so* /usr/local/lib/libclang*.so* /opt/homebrew/opt/llvm/lib/libclang.dylib \
    /usr/local/opt/llvm/lib/libclang.dylib /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
    /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib; do
    case $file in
      */libclang-cpp*) continue ;; # LLVM's C++ library, which bindgen cannot use
    esac
    [ -e "$file" ] && return 0
  done
  return 1
}

# Whether version $1 is at least $2; both are MAJOR.MINOR.
at_least() {
  [ "${1%%.*}" -gt "${2%%.*}" ] || { [ "${1%%.*}" -eq "${2%%.*}" ] && [ "${1#*.}" -ge "${2#*.}" ]; }
}

check_needs() {
  missing=no
  command -v cargo >/dev/null 2>&1 || PATH=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin:$PATH
  if ! command -v cargo >/dev/null 2>&1 || ! command -v rustc >/dev/null 2>&1; then
    say "Missing: Rust $needs_rust or newer. Install it for your user with"
    say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    missing=yes
  else
    rust=$(rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\).*/\1/')
    if ! at_least "$rust" "$needs_rust"; then
      say "Missing: Rust $needs_rust or newer (this is $rust). Update it with"
      say "  rustup update stable"
      missing=yes
    fi
  fi
  if ! command -v cc >/dev/null 2>&1 && ! apt_install gcc libc6-dev; then
    say "Missing: a C compiler (SQLite and the SQL parsers are C). Install it with"
    name_package "gcc libc6-dev" gcc gcc
    missing=yes
  fi
  if ! have_libclang && ! apt_install libclang-dev; then
    say "Missing: libclang (it makes the bindings of PostgreSQL's parser). Install it with"
    name_package libclang-dev clang-devel llvm
    missing=yes
  fi
  [ $missing = no ] || fail "install what is missing, then run this again"
}

# --- steps ---------------------------------------------------------------------------------------

remove() {
  if [ -e "$installed" ]; then
    rm -f "$installed"
    say "Removed $installed. State folders (audit log, keys) were left alone."
  else
    say "There is no $installed."
  fi
}

build() {
  if [ $profile = release ]; then
    say "Building (about 10 minutes on two cores the first time, then much less)."
    cargo build --release --locked --bin secondkey
  else
    say "Building without optimisation (about 5 minutes on two cores the first time)."
    cargo build --locked --bin secondkey
  fi
  SECONDKEY_BINARY=${CARGO_TARGET_DIR:-target}/$profile/secondkey
}

copy() {
  [ -f "$SECONDKEY_BINARY" ] || fail "there is no file $SECONDKEY_BINARY"
  mkdir -p "$prefix/bin" || fail "cannot make $prefix/bin; choose another --prefix"
  # A copy beside it and a rename: a running secondkey keeps its own file.
  new=$installed.new.$$
  trap 'rm -f "$new"' EXIT
  cp "$SECONDKEY_BINARY" "$new" && chmod 755 "$new" && mv -f "$new" "$installed"
  say "Installed $installed."
  case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) say "It is not on your PATH yet; add: export PATH=\"$prefix/bin:\$PATH\"" ;;
  esac
}

# --- an agent of its own user --------------------------------------------------------------------

# With DESTDIR=DIR all of it goes below DIR, accounts included: for packages and tests.
root=${DESTDIR:-}
user=secondkey group=secondkey-clients
unit=$root/etc/systemd/system/secondkey.service
etc=/etc/secondkey state=/var/lib/secondkey run=/run/secondkey

# Does something as it is written, or says what it would be.
do_it() { if [ $dry = yes ]; then say "  $*"; else "$@"; fi; }

id_of() { # passwd or group, name
  if [ -n "$root" ]; then sed -n "s/^$2:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/$1"
  else getent "$1" "$2" | cut -d: -f3; fi
}

account_tool() { # useradd, groupadd, usermod, with arguments
  tool=$1; shift
  if [ -n "$root" ]; then do_it "$tool" --prefix "$root" "$@"; else do_it "$tool" "$@"; fi
}

folder() { # path, owner, group, mode
  do_it mkdir -p "$root$1"
  do_it chown "$2:$3" "$root$1"
  do_it chmod "$4" "$root$1"
}

write_unit() {
  cat <<UNIT
[Unit]
Description=SecondKey agent: holds the database credentials, and runs what people and policy allow
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
ExecStart=$installed agent --socket $run/agent.sock --config $etc/secondkey.toml --state $state
Restart=on-failure
# The socket gets this group: its members may connect.
User=$user
Group=$group
SupplementaryGroups=$user
UMask=0077
RuntimeDirectory=secondkey
RuntimeDirectoryMode=0750
StateDirectory=secondkey
StateDirectoryMode=0700
# For secrets by \`env:NAME\`, as NAME=VALUE lines that root alone can read.
EnvironmentFile=-$etc/environment
# An SQLite database elsewhere than in $state needs a drop-in with ReadWritePaths=ITS-FOLDER.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
LimitCORE=0

[Install]
WantedBy=multi-user.target
UNIT
}

write_config() {
  cat <<'CONFIG'
# What the agent serves. See docs/configuration.md. Passwords: `password = "file:NAME"`, in this folder and
# readable by the group secondkey alone, or `env:NAME` with /etc/secondkey/environment.
#
# [targets.orders]
# url = "postgres://app_ro@db.internal/orders"
# password = "env:ORDERS_PASSWORD"
# environment = "production"
#
# Whoever may use the socket is served: the members of the group secondkey-clients. To say it here as well:
# [agent]
# clients = ["ada", "group:dev"]
CONFIG
}

# Writes a file in one step: a service that is running never sees half of it.
put() { # what writes it, path, owner, group, mode
  if [ $dry = yes ]; then
    say "  write $2, $3:$4, mode $5:"
    $1 | sed 's/^/    | /'
    return
  fi
  mkdir -p "$(dirname "$2")"
  $1 >"$2.new.$$"
  chown "$3:$4" "$2.new.$$" && chmod "$5" "$2.new.$$" && mv -f "$2.new.$$" "$2"
}

systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }

need_root() {
  [ "$(uname -s)" = Linux ] || fail "--separate is for Linux: it needs useradd, and systemd or a service of your own"
  [ $dry = yes ] || [ "$(id -u)" = 0 ] || fail "--separate needs root; build as yourself, then: sudo SECONDKEY_BINARY=target/release/secondkey ./install.sh --separate"
  for tool in useradd groupadd usermod; do
    command -v $tool >/dev/null 2>&1 || fail "--separate needs $tool (Debian, Ubuntu: passwd; Fedora: shadow-utils; Alpine: shadow)"
  done
}

# Safe to run again: what is there is kept, and made right where owners or permissions are not.
set_up() {
  [ -n "$(id_of group $user)" ] || account_tool groupadd --system $user
  [ -n "$(id_of group $group)" ] || account_tool groupadd --system $group
  [ -n "$(id_of passwd $user)" ] || account_tool useradd --system --gid $user --no-create-home --home-dir $state --shell /usr/sbin/nologin $user
  for client in $clients; do
    [ $dry = yes ] || [ -n "$(id_of passwd "$client")" ] || fail "there is no user $client"
    account_tool usermod --append --groups $group "$client"
  done
  if [ $dry = yes ]; then uid=$user gid=$user cid=$group
  else uid=$(id_of passwd $user) gid=$(id_of group $user) cid=$(id_of group $group); fi
  folder $etc 0 "$gid" 0750
  folder $state "$uid" "$cid" 0700
  folder $run "$uid" "$cid" 0750
  fresh=no
  if [ ! -e "$root$etc/secondkey.toml" ]; then
    fresh=yes
    put write_config "$root$etc/secondkey.toml" 0 "$gid" 0640
  fi
  put write_unit "$unit" 0 0 0644
  if systemd_runs; then
    do_it systemctl daemon-reload
    [ $fresh = yes ] || do_it systemctl try-restart secondkey.service
  fi
}

say_what_is_next() {
  say ""
  say "Next:"
  say "  1. Write your databases into $etc/secondkey.toml."
  if systemd_runs; then
    say "  2. systemctl enable --now secondkey"
  else
    say "  2. systemd does not run here. Start the agent by hand, or from the service manager there is:"
    say "       setpriv --reuid=$user --regid=$group --groups=$user \\"
    say "         $installed agent --socket $run/agent.sock --config $etc/secondkey.toml --state $state"
    say "     $run has to be there after each start of the machine: owner $user, group $group, mode 0750."
  fi
  say "  3. Let users connect, who then log in again: usermod -aG $group USER"
  say "  4. As such a user: secondkey doctor --agent unix:$run/agent.sock"
  say "     and for a client: secondkey mcp --agent unix:$run/agent.sock"
  say "  5. The first key, as whoever approves: secondkey trust init --new --to first.json"
  say "     then as root: setpriv --reuid=$user --regid=$group --groups=$user $installed trust install first.json --state $state"
}

take_down() {
  if systemd_runs && [ -e "$unit" ]; then do_it systemctl disable --now secondkey.service; fi
  do_it rm -f "$unit" "$root$installed"
  if systemd_runs; then do_it systemctl daemon-reload; fi
  [ $dry = yes ] || say "Removed $unit and $root$installed."
  say "Left alone: $etc (configuration), $state (audit log, keys), the user $user and the groups $user and $group."
}

if [ $separate = yes ]; then
  need_root
  [ $uninstall = no ] || { take_down; exit 0; }
  if [ $dry = yes ]; then
    say "This would install $installed, then do:"
    set_up
    say_what_is_next
    exit 0
  fi
fi

[ $uninstall = no ] || { remove; exit 0; }
if [ -z "${SECONDKEY_BINARY:-}" ]; then
  check_needs
  [ $check = no ] || exit 0
  build
fi
[ $check = no ] || exit 0
if [ $separate = yes ]; then
  accounts=$prefix prefix=$root$prefix installed=$root$installed
  copy
  prefix=$accounts installed=${installed#"$root"}
  set_up
  say "The agent's user, folders and unit are set up."
  say_what_is_next
  exit 0
fi
copy
[ $demo = no ] || exec "$installed" demo
