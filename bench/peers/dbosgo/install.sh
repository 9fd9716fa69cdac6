#!/usr/bin/env bash
# install.sh FOLDER: DBOS at the version of go.mod, linked into its adapter as into any program that uses it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
go build -o "$1/adapter" .
