#!/usr/bin/env bash
# install.sh FOLDER: Temporal's server and its schema tool from the Go modules of go.mod, unless this version of them is there. Both
# adapters use it. Building it from nothing takes some ten minutes on two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
if ! cmp -s go.mod "$1/go.mod"; then
  for tool in temporal-server:server temporal-sql-tool:tools/sql; do
    CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o "$1/${tool%%:*}" "go.temporal.io/server/cmd/${tool#*:}"
  done
  cp go.mod "$1/go.mod"
fi
cp run.sh "$1/run.sh"
