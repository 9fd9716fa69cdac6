#!/usr/bin/env bash
# install.sh FOLDER: Temporal's server, and its Python SDK at the versions of requirements.txt in an environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
mkdir -p "$1"
bash server/install.sh "$1/../temporal-server"
[ -x "$1/venv/bin/pip" ] || python3 -m venv "$1/venv"
"$1/venv/bin/pip" install -q --disable-pip-version-check -r requirements.txt
