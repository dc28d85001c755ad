#!/usr/bin/env bash
# Counts the instructions that one small GET costs the gateway and nginx, with callgrind: a busy machine does not change them. They are
# the difference between 2,500 and 500 requests over 16 kept connections, divided by 2,000, in one thread of each program.
# Needs valgrind; nginx comes with `cargo xtask bench gateway`. docs/decisions/0026-gateway-speed.md has what came of it.
#   xtask/tests/instructions.sh [--profile]     --profile prints the functions that take most, with what they call
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD out=$PWD/target/xtask/instructions nginx=$PWD/target/xtask/tools/nginx
command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind" >&2; exit 3; }
[ -x "$nginx" ] || { echo "nginx is missing: run \`cargo xtask bench gateway\` once" >&2; exit 3; }
mkdir -p "$out"
running=()
# Ends what this script started, and nothing else.
trap 'for one in "${running[@]}"; do kill "$one" 2>/dev/null || true; done; wait; rm -rf "$out/checkout"' EXIT

# valgrind follows neither a static program nor one that replaces itself: the gateway is linked as usual, in a clone in which it keeps
# the environment that it has, which is the contract's alone. What is not committed is not in it.
rm -rf "$out/checkout"
git clone --quiet --shared "$root" "$out/checkout"
environment=$out/checkout/services/kit/src/run/environment.rs
sed -i 's/^    if foreign\.is_empty() {$/    if foreign.len() < usize::MAX {/' "$environment"
grep --quiet 'usize::MAX' "$environment" || { echo "$environment has another form: correct this script" >&2; exit 2; }
cargo build --quiet --release --locked --package mini-e2e
(cd "$out/checkout" && CARGO_TARGET_DIR=$out/target cargo build --quiet --release --locked --package mini-gateway \
  --config 'profile.release.debug="line-tables-only"' --config 'profile.release.strip="none"')

free_port() { # a port between 20000 and 30000 on which nobody listens
  local port
  for port in $(shuf -i 20000-30000 -n 50); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  echo "no free port" >&2
  exit 3
}
listens() { # waits until somebody accepts there
  local tries
  for tries in $(seq 600); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
    sleep 0.05
  done
  echo "nothing listens on port $1; see $out/*.log" >&2
  exit 3
}
configuration() { # configuration NAME PORT UPSTREAM: nginx as in `bench gateway`
  sed -e "s#@FOLDER@#$out#g; s#@THREADS@#1#g; s#@LARGE@#/products/large#g; s#@PORT@#$2#g; s#@UPSTREAM@#$3#g" \
    "xtask/crates/bench/src/proxy/$1.conf" >"$out/$1.conf"
}

upstream=$(free_port)
configuration upstream "$upstream" "$upstream"
"$nginx" -p "$out" -e stderr -c "$out/upstream.conf" >"$out/upstream.log" 2>&1 &
running+=($!)
listens "$upstream"

# counted NAME REQUESTS PORT PROGRAM…: the instructions of a whole run with so many requests
counted() {
  local name=$1 requests=$2 port=$3 result process
  shift 3
  result=$out/$name-$requests.callgrind
  rm -f "$result"
  taskset --cpu-list 0 env -i MAX_CONNECTIONS_PER_CLIENT=1024 RATE_LIMIT_BURST=1000000 RATE_LIMIT_PER_SECOND=1000000 \
    USER_URL="http://127.0.0.1:$upstream" PRODUCT_URL="http://127.0.0.1:$upstream" ORDER_URL="http://127.0.0.1:$upstream" \
    BIND_ADDRESS=127.0.0.1 PORT="$port" valgrind --tool=callgrind --callgrind-out-file="$result" "$@" >"$out/$name.log" 2>&1 &
  process=$!
  running+=("$process")
  listens "$port"
  target/release/mini-e2e throughput --base-url "http://127.0.0.1:$port" --requests "$requests" --connections 16 --threads 1 \
    --milliseconds 120000 | grep --quiet "\"failed\":0.*\"requests\":$requests," || { echo "$name failed requests" >&2; exit 1; }
  kill "$process"
  wait "$process" || true
  sed --quiet 's/^summary: //p; s/^totals: //p' "$result" | tail --lines 1
}
difference() { # difference NAME PROGRAM…
  local name=$1 few many port
  shift
  port=$(free_port)
  [ "$name" != nginx ] || configuration proxy "$port" "$upstream"
  few=$(counted "$name" 500 "$port" "$@")
  many=$(counted "$name" 2500 "$port" "$@")
  echo "$name: $(((many - few) / 2000)) instructions a request"
}
difference gateway "$out/target/release/mini-gateway"
difference nginx "$nginx" -p "$out" -e stderr -c "$out/proxy.conf" -g "master_process off;"
if [ "${1:-}" = --profile ]; then
  callgrind_annotate --inclusive=yes "$out/gateway-2500.callgrind" | head --lines 80
fi
