#!/bin/sh
# Builds SecondKey from this checkout and installs one file: PREFIX/bin/secondkey.
#
#   ./install.sh                 build and install into ~/.local/bin
#   ./install.sh --prefix DIR    install into DIR/bin
#   ./install.sh --demo          the same, then run `secondkey demo`
#   ./install.sh --debug         build faster, run slower: for a first look
#   ./install.sh --check         only see (and install) what a build needs
#   ./install.sh --uninstall     remove PREFIX/bin/secondkey
#   --yes                        install missing packages without asking
#
# What is missing is installed with apt-get when this runs as root, after asking when there is somebody
# to ask; else it is named. Rust itself is never installed. With SECONDKEY_BINARY=FILE, that file is
# installed and nothing is built. Running it again replaces the file.
set -eu
cd "$(dirname "$0")"

needs_rust=1.94
prefix=${HOME:-/root}/.local
profile=release demo=no check=no uninstall=no yes=no

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -gt 1 ] || fail "--prefix needs a folder"; prefix=$2; shift ;;
    --prefix=*) prefix=${1#--prefix=} ;;
    --demo) demo=yes ;;
    --debug) profile=debug ;;
    --check) check=yes ;;
    --uninstall) uninstall=yes ;;
    --yes | -y) yes=yes ;;
    --help | -h) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  shift
done
[ -n "$prefix" ] || fail "--prefix needs a folder"
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

[ $uninstall = no ] || { remove; exit 0; }
if [ -z "${SECONDKEY_BINARY:-}" ]; then
  check_needs
  [ $check = no ] || exit 0
  build
fi
[ $check = no ] || exit 0
copy
[ $demo = no ] || exec "$installed" demo
