#!/usr/bin/env bash
# Everything that has to pass before a change lands: style, types, tests on real servers, the demo twice.
# usage: bash ci/test.sh [PYTEST ARGUMENT ...]
source "$(dirname "$0")/common.sh"

bash "$ROOT/ci/install.sh"
bash "$ROOT/ci/environment.sh" >/dev/null
bash "$ROOT/ci/storm-data.sh" >/dev/null
apt_need shellcheck chromium openssh-server busybox-static
marks=()
if [ "$(id -u)" = 0 ]; then
    # Ceph's gateway is what the European Weather Cloud runs
    apt_need radosgw ceph-mon ceph-osd ceph-common
else
    say "the tests on Ceph and on the twin start daemons as root: they are left out"
    marks=(-m "not ceph and not twin")
fi
export PATH=$ROOT/.venv/bin:$PATH
cd "$ROOT"

say "style and types"
ruff check .
ruff format --check .
mypy
shellcheck --severity=warning -x ci/*.sh ci/bench/*.sh

say "tests"
python -m pytest "${marks[@]}" "$@"
