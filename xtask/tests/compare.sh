#!/usr/bin/env bash
# Shows what `compose-e2e --compare` finds, and what it does not: the images of this checkout beside themselves have to show no
# difference, and beside the same with a built-in slowdown of 30 % a figure has to be worse; each so many times (10, or the number
# given), with the limits of xtask/policy/performance.toml. Keeps one log of all runs. Needs a clean checkout and a quiet machine.
#   xtask/tests/compare.sh [RUNS] [ROUNDS] [LOG]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-10}
rounds=${2:-8}
log=${3:-target/xtask/compare.log}
mkdir -p "$(dirname "$log")"
: >"$log"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The slowdown is real, and in all four images: whenever a connection has been worked on (read, parsed, handled, logged, answered), the
# processor goes round in circles for 0.3 times as long. Waiting for somebody else is no work. It is made in a clone, so this
# checkout stays as it is; of the clone only the commit's objects are taken.
git clone --quiet --shared . "$scratch/slower"
server=$scratch/slower/services/kit/src/server.rs
sed -i 's|^            ended = &mut connection => ended,$|            ended = slower(connection.as_mut()) => ended,|' "$server"
cat >>"$server" <<'RUST'

/// Polls a future and then wastes 0.3 times what that took; what looks like a pause of the whole thread counts as a millisecond.
async fn slower<F: Future>(mut work: std::pin::Pin<&mut F>) -> F::Output {
    std::future::poll_fn(|context| {
        let begun = Instant::now();
        let polled = work.as_mut().poll(context);
        let until = Instant::now() + begun.elapsed().min(Duration::from_millis(1)) * 3 / 10;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        polled
    })
    .await
}
RUST
grep --quiet 'ended = slower(' "$server" || { echo "services/kit/src/server.rs has another form: correct this script" >&2; exit 2; }
# At the time of the commit it follows: the same commit each time, which the builder then knows.
GIT_AUTHOR_DATE=$(git log -1 --format=%cI) && GIT_COMMITTER_DATE=$GIT_AUTHOR_DATE && export GIT_AUTHOR_DATE GIT_COMMITTER_DATE
git -C "$scratch/slower" -c user.name=compare -c user.email=compare@example.org commit --quiet --all --message "Be slower by 30 %"
git fetch --quiet "$scratch/slower" HEAD
slower=$(git rev-parse FETCH_HEAD)

# compare NAME ARGUMENTS…: one run; its exit code, and the figures that are worse or better.
compare() {
  local name=$1 code=0
  shift
  echo "$name, run $run of $runs, $(date --utc +%FT%TZ), load $(cut -d' ' -f1 /proc/loadavg)" >>"$log"
  cargo xtask --progress plain compose-e2e "$@" --rounds "$rounds" >"$scratch/said" 2>&1 || code=$?
  cat "$scratch/said" >>"$log"
  if [ "$code" -gt 1 ]; then
    tail --lines 5 "$scratch/said" >&2
    echo "the comparison could not be made (exit $code); see $log" >&2
    exit 1
  fi
  worse=$(awk '$1 ~ /\// && / worse +[+-]?[0-9n]/ { printf " %s", $1 }' "$scratch/said")
  better=$(awk '$1 ~ /\// && / better +[+-]?[0-9n]/ { printf " %s", $1 }' "$scratch/said")
  echo "$name, run $run of $runs: exit $code; worse:${worse:- none}; better:${better:- none}" | tee --append "$log"
  [ "$code" -eq 0 ] || [ -n "$worse" ] || { echo "exit 1 without a figure that is worse; see $log" >&2; exit 1; }
}

alike=0 found=0
for run in $(seq "$runs"); do
  compare "equal" --compare :local
  [ -n "$worse$better" ] || alike=$((alike + 1))
done
for run in $(seq "$runs"); do
  compare "slower by 30 %" --compare :local --with "$slower"
  [ -z "$worse" ] || found=$((found + 1))
done
echo "equal sets: no difference in $alike of $runs; slower by 30 %: found in $found of $runs" | tee --append "$log"
[ "$alike" -eq "$runs" ] && [ "$found" -eq "$runs" ]
