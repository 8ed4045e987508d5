#!/usr/bin/env bash
# The programs that the benchmarks compare with, in an environment of their own; prints its python.
source "$(dirname "$0")/../common.sh"
ENVIRONMENT=$CACHE/envs/peers-$(lock_hash "$0")
mkdir -p "$CACHE/envs"
exec 9>"$CACHE/envs/.lock"
flock 9
if [ ! -e "$ENVIRONMENT/.complete" ]; then
    say "installing the benchmarks' peers in $ENVIRONMENT"
    rm -rf "$ENVIRONMENT"
    "$(python311)" -m venv "$ENVIRONMENT"
    "$ENVIRONMENT/bin/pip" install -q pyflow-workflow-generator==3.6.0 troika==0.2.7
    "$ENVIRONMENT/bin/python" -c 'import ecflow' 2>/dev/null ||
        ln -sfn /usr/lib/python3/dist-packages/ecflow "$ENVIRONMENT/lib/python3.11/site-packages/ecflow"
    touch "$ENVIRONMENT/.complete"
fi
printf '%s\n' "$ENVIRONMENT/bin/python"
