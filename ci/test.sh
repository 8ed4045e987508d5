#!/usr/bin/env bash
# Everything that has to pass before a change lands: style, types, tests on real servers, the demo twice.
# usage: bash ci/test.sh [PYTEST ARGUMENT ...]
source "$(dirname "$0")/common.sh"

bash "$ROOT/ci/install.sh"
bash "$ROOT/ci/environment.sh" >/dev/null
bash "$ROOT/ci/storm-data.sh" >/dev/null
apt_need shellcheck chromium openssh-server busybox-static
# four clusters in namespaces are a matter of minutes and of a quiet machine: `bash ci/test.sh -m twin` runs them
left_out="not twin"
say "the tests on the twin of four clusters are left out; run them with: bash ci/test.sh -m twin"
if [ "$(id -u)" = 0 ]; then
    # Ceph's gateway is what the European Weather Cloud runs
    apt_need radosgw ceph-mon ceph-osd ceph-common
else
    say "the tests on Ceph start its daemons as root: they are left out"
    left_out="$left_out and not ceph"
fi
export PATH=$ROOT/.venv/bin:$PATH
cd "$ROOT"

say "style and types"
ruff check .
ruff format --check .
mypy
shellcheck --severity=warning -x ci/*.sh ci/bench/*.sh

say "tests"
python -m pytest -m "$left_out" "$@"
