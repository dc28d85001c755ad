#!/usr/bin/env bash
# Runs the fault cases many times over (20, or the number given) and keeps one log of all runs: a promise that holds nineteen
# times out of twenty does not hold. Stops at the first run that fails.
#   xtask/tests/faults.sh [RUNS] [LOG]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-20}
log=${2:-target/xtask/faults.log}
mkdir -p "$(dirname "$log")"
: >"$log"
for run in $(seq "$runs"); do
  echo "run $run of $runs, $(date --utc +%FT%TZ), load $(cut -d' ' -f1 /proc/loadavg)" | tee --append "$log"
  if ! cargo xtask compose-e2e --faults >>"$log" 2>&1; then
    echo "run $run failed; see $log" | tee --append "$log"
    exit 1
  fi
  grep '^fault .* requests' "$log" | tail --lines 16
done
echo "all $runs runs passed" | tee --append "$log"
