#!/usr/bin/env bash
# Run the benchmarks whose tables the documentation has, one after the other, and renew the speeds in README.md.
#
#     bash benchmarks/all.sh [--quick] [NAME ...]
#
# A machine of two cores that does nothing else takes 55 minutes, with --quick, which has fewer rounds and seeds,
# 25. No benchmark runs longer than the limit here; one that fails or lacks a package is named at the end, keeps its old
# file, and the others go on. NAMES choose some: games, cart_pole, ... Packages: make .venv/.bench .venv/.cluster, and
# Debian's chromium-driver. scores.py, whose scores no load changes, is run by itself.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}

quick=
if [ "${1:-}" = --quick ]; then quick=1; shift; fi
names=("$@")
failed=()

# run NAME LIMIT ARGUMENTS QUICK_ARGUMENTS [ARGUMENTS QUICK_ARGUMENTS]: LIMIT in minutes, of each call
run() {
    local name=$1 limit=$2 file
    shift 2
    if [ ${#names[@]} -gt 0 ] && [[ " ${names[*]} " != *" $name "* ]]; then return; fi
    file=$(mktemp -u "${TMPDIR:-/tmp}/$name.XXXXXX.json")
    while [ $# -gt 0 ]; do
        local arguments=${quick:+$2}
        [ -n "$quick" ] || arguments=$1
        shift 2
        echo "python benchmarks/$name.py $arguments" >&2
        # shellcheck disable=SC2086  words
        if ! timeout --kill-after 10 "${limit}m" "$PYTHON" "benchmarks/$name.py" $arguments --json "$file"; then
            failed+=("$name")
            rm -f "$file"
            return
        fi
    done
    mv "$file" "benchmarks/results/$name.json"
}

run games 10 "" "--rounds 5"
run replay 10 "" "--rounds 5"
run cart_pole 30 \
    "--agents ppo --threads 1" "--agents ppo --threads 1 --seeds 3" \
    "--agents dqn a3c --threads 1" "--agents dqn a3c --threads 1 --seeds 1"
run pong 20 "--seconds 4" "--rounds 3"
run a3c 20 "" "--rounds 3 --seconds 2"
run a3c_and_ppo 10 "--games CartPole CatchBall" "--games CartPole CatchBall"
run mario 10 "" "--rounds 5 --seconds 1"
run dino 10 "" "--rounds 5 --seconds 1"
run precision 10 "" "--rounds 5"
run start 10 "" "--rounds 5"
run ray_cost 15 "" "--seconds 4"
run cave_planner 20 "--skips 4 --caves 20" "--skips 4 --caves 20"

"$PYTHON" docs/generate.py --readme
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed, their files are as they were: ${failed[*]}" >&2
    exit 1
fi
