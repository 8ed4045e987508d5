#!/usr/bin/env bash
# One study over the four machines of the twin, as an operator would run it: log in, deploy, watch.
# usage: bash ci/twin-demo.sh [DEPLOYMENT]      (default: suites/twin/deployment.yaml)
# Leaves the twin running; end it with: bash ci/twin.sh down
source "$(dirname "$0")/common.sh"

bash "$ROOT/ci/install.sh"
bash "$ROOT/ci/environment.sh" >/dev/null
bash "$ROOT/ci/storm-data.sh" >/dev/null
DEPLOYMENT=$(realpath "${1:-$ROOT/suites/twin/deployment.yaml}")
twin() { bash "$ROOT/ci/twin.sh" "$@"; }
ops() { twin exec ops "$1"; }

twin up --services --bind "$CACHE"
# ops has a cache of its own, to which this machine's, mounted read-only, lends what takes long to make
ops "[ ! -L ~/.cache/ml-suite ] || rm ~/.cache/ml-suite; mkdir -p ~/.cache/ml-suite
    for name in anemoi envs sources; do ln -sfn '$CACHE'/\$name ~/.cache/ml-suite/\$name; done"
# what the four sites would have installed: the training environment, which every host of the twin sees
for place in lumi:/project/project_465000000 leonardo:/leonardo_work/deste_340_26 \
    marenostrum5:/gpfs/projects/ehpc01 jupiter:/e/project1/e-mlops; do
    folder=${place#*:}/ml-suite
    twin exec "${place%%:*}" "mkdir -p '$folder' && ln -sfn '$CACHE/anemoi' '$folder/environment'"
done

say "what a person does: one login for each machine"
ops "ml-suite hosts login lumi"
twin cert leonardo >/dev/null
ops "ml-suite hosts login leonardo"
ops "ml-suite hosts login marenostrum5"
twin totp jupiter --codes 2 | twin exec ops "ml-suite hosts login jupiter --code-stdin"

say "the rest is the suite's"
ops "ml-suite deploy '$DEPLOYMENT' -y"
ops "ml-suite status europe --watch"
ops "ml-suite report europe"
ops "ml-suite lineage europe"
