#!/usr/bin/env bash
# Runs the fault cases many times over (20, or the number given) and keeps one log of all runs: a promise that holds nineteen
# times out of twenty does not hold. Stops at the first run that fails.
#   xtask/tests/faults.sh [RUNS] [LOG]
set -euo pipefail
cd "$(dirname "$0")/../.."
# One line per fault over all runs in the log, as docs/testing/faults.md has it.
summary() {
  awk '
    BEGIN { print "| fault | runs | requests | failed | orders | broken promises | slowest recovery, ms |"; print "|---|---|---|---|---|---|---|" }
    /^fault .* broken promises$/ {
      name = $2; sub(":", "", name)
      if (!(name in runs)) order[++count] = name
      runs[name]++
      for (i = 3; i <= NF; i++) {
        if ($i ~ /^requests/) requests[name] += $(i - 1)
        if ($i ~ /^failed/) failed[name] += $(i - 1)
        if ($i ~ /^writes/) orders[name] += $(i - 1)
        if ($i == "after" && $(i + 1) + 0 >= slowest[name] + 0) slowest[name] = $(i + 1)
        if ($i == "broken") broken[name] += $(i - 1)
      }
    }
    END {
      for (i = 1; i <= count; i++) {
        name = order[i]
        print "| " name " | " runs[name] " | " requests[name] " | " failed[name] " | " orders[name] " | " broken[name] + 0 " | " (name in slowest ? slowest[name] : "not timed") " |"
      }
    }' "$log"
}

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
  grep '^fault .* requests' "$log" | tail --lines "$(grep --count '^\[\[fault\]\]' xtask/policy/stack.toml)"
done
summary | tee --append "$log"
echo "all $runs runs passed" | tee --append "$log"
