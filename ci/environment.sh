#!/usr/bin/env bash
# The training environment: torch (CPU), the anemoi packages and the registry client, outside the light one.
# usage: environment.sh      -> ~/.cache/ml-suite/envs/anemoi-HASH, and the link ~/.cache/ml-suite/anemoi to it
# Takes a few minutes and 2.5 GB once; does nothing while the lock file is the same.
# TORCH_PIP_ARGS: further arguments of pip for torch, for instance where a CPU build is kept.
source "$(dirname "$0")/common.sh"

LOCK=$ROOT/ci/requirements/anemoi.txt
ENVIRONMENT=$CACHE/envs/anemoi-$(lock_hash "$LOCK" "$0")
mkdir -p "$CACHE/envs"
exec 9>"$CACHE/envs/.lock"
flock 9
if [ ! -e "$ENVIRONMENT/.complete" ]; then
    PYTHON=$(python311)
    "$PYTHON" -c 'import ensurepip' 2>/dev/null || apt_need python3-venv
    say "installing the training environment in $ENVIRONMENT (some minutes, once)"
    rm -rf "$ENVIRONMENT"
    "$PYTHON" -m venv "$ENVIRONMENT"
    # shellcheck disable=SC2086
    "$ENVIRONMENT/bin/pip" install -q torch==2.13.0 ${TORCH_PIP_ARGS:-}
    "$ENVIRONMENT/bin/pip" install -q --no-deps -r "$LOCK"
    # timm/__init__ imports torchvision, which has no CPU build; anemoi-training uses timm.scheduler alone.
    : >"$ENVIRONMENT/lib/python3.11/site-packages/timm/__init__.py"
    "$ENVIRONMENT/bin/anemoi-training" --version >/dev/null
    touch "$ENVIRONMENT/.complete"
fi
LINK=$CACHE/anemoi
if [ "$(readlink -f "$LINK" 2>/dev/null || true)" != "$ENVIRONMENT" ]; then
    ln -sfn "$ENVIRONMENT" "$LINK.new"
    mv -T "$LINK.new" "$LINK"
fi
printf '%s\n' "$ENVIRONMENT"
