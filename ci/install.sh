#!/usr/bin/env bash
# The light environment .venv of this checkout: ml-suite with its embedded services and test tools, and ecFlow.
# Safe to run again: does nothing while the lock file is the same.
source "$(dirname "$0")/common.sh"

if ! command -v ecflow_server >/dev/null || ! command -v ecflow_client >/dev/null; then
    apt_need ecflow-server ecflow-client
fi
# other machines are reached by these
apt_need openssh-client rsync
# with a compiler the embedded ecFlow server can be kept on loopback; without one it is open to the network, and says so
command -v cc >/dev/null || apt_need gcc libc6-dev
PYTHON=$(python311)
"$PYTHON" -c 'import ensurepip' 2>/dev/null || apt_need python3-venv

VENV=$ROOT/.venv
STAMP=$VENV/.installed
WANT=$(lock_hash "$ROOT/ci/requirements/suite.txt" "$ROOT/pyproject.toml" "$0")
exec 9>"$ROOT/.install.lock"
flock 9
if [ "$(cat "$STAMP" 2>/dev/null)" != "$WANT" ]; then
    say "installing the suite environment in $VENV (about a minute, once)"
    rm -f "$STAMP"
    [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
    "$VENV/bin/pip" install -q -r "$ROOT/ci/requirements/suite.txt"
    "$VENV/bin/pip" install -q --no-deps -e "$ROOT"
    printf '%s\n' "$WANT" >"$STAMP"
fi

# The binding is not on the package index: borrow Debian's, which is built for the same Python 3.11.
if ! "$VENV/bin/python" -c 'import ecflow' 2>/dev/null; then
    apt_need python3-ecflow
    ln -sfn /usr/lib/python3/dist-packages/ecflow "$("$VENV/bin/python" -c 'import site; print(site.getsitepackages()[0])')/ecflow"
    "$VENV/bin/python" -c 'import ecflow' || die "the ecFlow binding cannot be imported by $VENV/bin/python"
fi
