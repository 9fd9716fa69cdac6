#!/usr/bin/env bash
# install.sh FOLDER: Temporal's server, and its Go SDK at the version of go.mod, linked into the adapter, which is the worker too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
bash ../temporal/server/install.sh "$1/../temporal-server"
go build -o "$1/adapter" .
