#!/bin/sh
# A small PostgreSQL server and three clients that use its shared buffers at the same time.
#
#     sh samples/postgres-shared.sh prepare DIR     makes a database cluster and a table in DIR
#     sh samples/postgres-shared.sh clients DIR     waits for the server, runs the clients, stops the server
#
# Only the server is recorded, with all its processes; README.md has the command.
# PostgreSQL refuses to run as root: as root, DIR belongs to the user postgres, and the server runs as that user.
set -eu
what=$1
dir=$2
bin=${PGBIN:-$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)}
as=""
if [ "$(id -u)" = 0 ]; then as="setpriv --reuid=postgres --regid=postgres --clear-groups"; fi

case $what in
prepare)
  mkdir -p "$dir"
  if [ -n "$as" ]; then chown postgres "$dir"; fi
  $as "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
  $as tee -a "$dir/data/postgresql.conf" >/dev/null <<CONF
unix_socket_directories = '$dir'
listen_addresses = ''
shared_buffers = 16MB
max_connections = 10
autovacuum = off
fsync = off
jit = off
huge_pages = off
wal_level = minimal
max_wal_senders = 0
max_parallel_workers = 0
max_logical_replication_workers = 0
CONF
  $as "$bin/pg_ctl" -D "$dir/data" -w start >/dev/null
  $as "$bin/psql" -q -h "$dir" -U postgres postgres <<SQL
CREATE TABLE account (id int PRIMARY KEY, balance int, filler char(200));
INSERT INTO account SELECT i, 0, '' FROM generate_series(1, 20000) i;
SQL
  $as "$bin/pg_ctl" -D "$dir/data" -w -m fast stop >/dev/null
  ;;
clients)
  # Not with pg_isready: each of its attempts would be a process of the server's.
  until grep -q ready "$dir/data/postmaster.pid" 2>/dev/null; do sleep 0.2; done
  for client in 1 2 3; do
    "$bin/psql" -q -h "$dir" -U postgres postgres <<SQL &
SELECT count(*), sum(balance) FROM account WHERE id BETWEEN 1 AND 1000;
UPDATE account SET balance = balance + 1 WHERE id BETWEEN ${client}00 AND ${client}20;
SQL
  done
  wait
  kill -INT "$(head -n 1 "$dir/data/postmaster.pid")"
  ;;
esac
