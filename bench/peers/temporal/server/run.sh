#!/usr/bin/env bash
# run.sh: makes Temporal's two databases on the PostgreSQL of PG_PORT, unless they are there, and becomes the server, whose gRPC port is in
# the first line of DATA/ports. HISTORY_SHARDS is a cluster's for good; POLL_RPS lifts the limit on how often a shard looks for tasks (the
# server's own is 20 a second: after a burst every transition of a workflow waits 50 ms). A server that starts again finds its ports as they were.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
cd "$DATA"
if [ ! -s ports ]; then
  python3 - >ports.new <<'P'
import random, socket
held = []
while len(held) < 9:
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10_000, 32_768)))  # the server keeps ports in a smallint
        held.append(s)
    except OSError:
        pass  # taken
print("\n".join(str(s.getsockname()[1]) for s in held))
P
  sql() { "$here/temporal-sql-tool" --plugin postgres12 --endpoint 127.0.0.1 --port "$PG_PORT" --user postgres --password none "$@"; }
  for pair in temporal:temporal visibility:temporal_visibility; do
    sql --database "${pair#*:}" create-database
    sql --database "${pair#*:}" setup-schema --version 0.0
    sql --database "${pair#*:}" update-schema --schema-name "postgresql/v12/${pair%%:*}"
  done
  mv ports.new ports
fi
mapfile -t port <ports
store() { echo "{sql: {pluginName: postgres12, databaseName: $1, connectAddr: '127.0.0.1:$PG_PORT', connectProtocol: tcp, user: postgres, password: none, maxConns: $2, maxIdleConns: $2, maxConnLifetime: 1h}}"; }
service() { echo "{rpc: {grpcPort: $1, membershipPort: $2, bindOnLocalHost: true$3}}"; }
# The numbers of connections are those of the server's own example for PostgreSQL.
cat >server.yaml <<Y
log: {stdout: true, level: warn}
persistence:
  defaultStore: default
  visibilityStore: visibility
  numHistoryShards: ${HISTORY_SHARDS:-4}
  datastores:
    default: $(store temporal 20)
    visibility: $(store temporal_visibility 10)
global:
  membership: {maxJoinDuration: 30s, broadcastAddress: 127.0.0.1}
services:
  frontend: $(service "${port[0]}" "${port[1]}" ", httpPort: ${port[8]}")
  matching: $(service "${port[2]}" "${port[3]}" "")
  history: $(service "${port[4]}" "${port[5]}" "")
  worker: $(service "${port[6]}" "${port[7]}" "")
clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active: {enabled: true, initialFailoverVersion: 1, rpcName: frontend, rpcAddress: "127.0.0.1:${port[0]}"}
dcRedirectionPolicy: {policy: noop}
archival:
  history: {state: disabled}
  visibility: {state: disabled}
namespaceDefaults:
  archival:
    history: {state: disabled}
    visibility: {state: disabled}
Y
if [ -n "${POLL_RPS:-}" ]; then
  for queue in transfer timer visibility; do
    echo "history.${queue}ProcessorMaxPollRPS: [{value: $POLL_RPS}]"
  done >dynamic.yaml
  echo "dynamicConfigClient: {filepath: dynamic.yaml, pollInterval: 1m}" >>server.yaml
fi
exec "$here/temporal-server" --config-file server.yaml --allow-no-auth start
