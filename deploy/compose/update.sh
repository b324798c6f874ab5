#!/bin/sh
# Exchange the gateways one after the other, with what is built now: ./update.sh. No request is lost on the way.
set -eu
cd "$(dirname "$0")"
docker compose build gateway-1 gateway-2
for gateway in gateway-1 gateway-2; do
    # Ended first: it drains (server.drain_s), its streams end, its ledger is written. --wait: until the new one is ready.
    docker compose stop "$gateway"
    docker compose up --detach --no-deps --wait "$gateway"
done
