#!/usr/bin/env bash
# What the benchmarks of studies compare with, in an environment of its own; prints its python.
source "$(dirname "$0")/../common.sh"
ENVIRONMENT=$CACHE/envs/study-peers-$(lock_hash "$0")
mkdir -p "$CACHE/envs"
exec 9>"$CACHE/envs/.lock-study-peers"
flock 9
if [ ! -e "$ENVIRONMENT/.complete" ]; then
    say "installing the peers of the studies in $ENVIRONMENT (2 GB)"
    rm -rf "$ENVIRONMENT"
    "$(python311)" -m venv "$ENVIRONMENT"
    # keras-tuner imports tensorboard when a trial starts, and does not say so to pip
    "$ENVIRONMENT/bin/pip" install -q keras-tuner==1.4.8 tensorflow-cpu==2.21.0 tensorboard==2.21.0 \
        keras==3.15.1 optuna==5.0.0 pyrcel==2.0.0
    touch "$ENVIRONMENT/.complete"
fi
printf '%s\n' "$ENVIRONMENT/bin/python"
