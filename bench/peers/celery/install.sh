#!/usr/bin/env bash
# install.sh FOLDER: Redis of the distribution, and Celery at the versions of requirements.txt in an environment of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# redis-tools holds the server's binary too; the package redis-server would add a service that starts with the machine.
command -v redis-check-rdb >/dev/null || { apt-get -qq update; DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends redis-tools >/dev/null; }
mkdir -p "$1"
[ -x "$1/venv/bin/pip" ] || python3 -m venv "$1/venv"
"$1/venv/bin/pip" install -q --disable-pip-version-check -r requirements.txt
