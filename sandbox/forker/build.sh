#!/bin/sh
# usage: build.sh OUTDIR PYTHON
# Builds OUTDIR/forker (static) and OUTDIR/python/_millrace_forker.abi3.so (for every CPython from 3.8 on, against the headers of
# PYTHON). Needs a C compiler and Python's headers, nothing else.
set -eu
if [ $# -ne 2 ]; then
	echo "usage: $0 OUTDIR PYTHON" >&2
	exit 64
fi
out=$1 python=$2 src=$(dirname "$0")/csrc
cc=${CC:-gcc}
include=$("$python" -I -S -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ ! -f "$include/Python.h" ]; then
	echo "$0: no Python.h in $include: install the development package of $python (python3-dev)" >&2
	exit 1
fi
mkdir -p "$out/python"
flags="-std=gnu11 -O2 -g0 -Wall -Wextra -Werror -fstack-protector-strong -D_FORTIFY_SOURCE=2"
shared="$src/loop.c $src/confine.c $src/launch.c $src/hold.c $src/touch.c $src/filter.c $src/landlock.c"
# Built beside and moved into place: a running slot may have the old file mapped.
# shellcheck disable=SC2086
"$cc" $flags -static -o "$out/.forker.$$" "$src/main.c" $shared
mv "$out/.forker.$$" "$out/forker"
# shellcheck disable=SC2086
"$cc" $flags -fPIC -shared -fvisibility=hidden -DMILLRACE_PYTHON -DPy_LIMITED_API=0x03080000 "-I$include" \
	-o "$out/python/.forker.$$" "$src/python.c" "$src/arena.c" "$src/environ.c" $shared -ldl
mv "$out/python/.forker.$$" "$out/python/_millrace_forker.abi3.so"
