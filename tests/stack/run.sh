#!/bin/bash
# Starts what the user it runs as is for.
set -euo pipefail
(($# == 0)) || exec "$@"
if [[ $(id -un) == rabbitmq ]]; then
  exec /usr/lib/rabbitmq/bin/rabbitmq-server
fi
PATH=$(compgen -G '/usr/lib/postgresql/*/bin'):$PATH
data=/var/lib/postgresql/data
if [[ ! -s $data/PG_VERSION ]]; then
  initdb -D "$data" --encoding=UTF8 --locale=C --username="$POSTGRES_USER" --auth=scram-sha-256 --pwfile=/dev/stdin \
    <<<"$POSTGRES_PASSWORD" >/dev/null
  echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
  postgres --single -D "$data" postgres <<<"CREATE DATABASE $POSTGRES_DB" >/dev/null
fi
exec postgres -D "$data" -c listen_addresses='*'
