#!/usr/bin/env bash
# Everything that has to pass before a change lands: style, types, tests on real servers, the demo, the twin.
# usage: bash ci/test.sh [PYTEST ARGUMENT ...]      (with arguments: one run of pytest with them, after style and types)
source "$(dirname "$0")/common.sh"

bash "$ROOT/ci/install.sh"
bash "$ROOT/ci/environment.sh" >/dev/null
bash "$ROOT/ci/storm-data.sh" >/dev/null
# busybox: a host that has nothing else; slurm: one node on loopback
apt_need shellcheck chromium openssh-server busybox-static curl gcc libc6-dev munge slurm-client slurmctld slurmd
left_out="not twin and not demo"
if [ "$(id -u)" = 0 ]; then
    # Ceph's gateway is what the European Weather Cloud runs
    apt_need radosgw ceph-mon ceph-osd ceph-common
else
    say "not root: the tests on Ceph's daemons and on the twin of four clusters are left out"
    left_out="$left_out and not ceph"
fi
export PATH=$ROOT/.venv/bin:$PATH
cd "$ROOT"

say "style and types"
ruff check .
ruff format --check .
mypy
shellcheck --severity=warning -x ci/*.sh ci/bench/*.sh

if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
# tests MARK [ARGUMENT ...]: what fails beside other tests on a busy machine has to pass alone
tests() {
    local mark=$1
    shift
    python -m pytest -m "$mark" "$@" && return
    say "what failed runs once more, alone"
    python -m pytest -m "$mark" --last-failed --last-failed-no-failures none
}

# most of the time goes into waiting for servers: two at a time, each file in one process
say "tests"
tests "$left_out" -n 2 --dist loadfile
say "the demo"
tests demo
if [ "$(id -u)" = 0 ]; then
    # four clusters want the machine for themselves
    say "the twin"
    tests twin tests/twin
fi
