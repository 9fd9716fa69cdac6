#!/usr/bin/env bash
# install.sh FOLDER: server and SDK of package-lock.json, a Node that is new enough among them, and the adapter beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
cp package.json package-lock.json ./*.mjs ../contract/contract.mjs "$1"
# Nothing here needs the scripts that packages run when they are installed.
npm --prefix "$1" ci --silent --ignore-scripts --no-audit --no-fund
