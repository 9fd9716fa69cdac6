#!/usr/bin/env bash
# install.sh FOLDER: the adapter; the daemon itself is what `make build` made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
go build -o "$1/adapter" .
