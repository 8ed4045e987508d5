#!/usr/bin/env bash
# The whole job on this machine: real data, real servers, trained and traceable weights.
# usage: bash ci/demo.sh
# Installs what is missing (once), starts the services, deploys suites/demo and follows it to the end. Run again it
# runs the same suite again: what is finished is recognised. ML_SUITE_HOME chooses another folder for everything.
source "$(dirname "$0")/common.sh"

bash "$ROOT/ci/install.sh"
bash "$ROOT/ci/environment.sh" >/dev/null
bash "$ROOT/ci/storm-data.sh" >/dev/null
export PATH=$ROOT/.venv/bin:$PATH
export ML_SUITE_HOME=${ML_SUITE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/ml-suite}
DEPLOYMENT=$ROOT/suites/demo/deployment.yaml

mkdir -p "$ML_SUITE_HOME"
chmod 700 "$ML_SUITE_HOME"
exec 8>"$ML_SUITE_HOME/.demo.lock"
flock -n 8 || die "a demo is running in $ML_SUITE_HOME" \
    "Watch it: ml-suite status demo --watch    Or run one beside it: ML_SUITE_HOME=\$(mktemp -d) bash ci/demo.sh"
started=$SECONDS

# the servers outlive this script and must not hold its lock
ml-suite services up 8>&-
ml-suite validate "$DEPLOYMENT"
ml-suite plan "$DEPLOYMENT"
# a suite that was left running goes on; one that has ended is queued again
ended=$(ml-suite status demo --json 2>/dev/null | grep -cE '"outcome": "(complete|aborted)"' || true)
if [ "$ended" = 1 ]; then
    ml-suite deploy "$DEPLOYMENT" -y --rerun 8>&-
else
    ml-suite deploy "$DEPLOYMENT" -y 8>&-
fi
ml-suite status demo --watch
say "the demo's suite took $((SECONDS - started)) s"

REPORT=$ML_SUITE_HOME/demo-report.html
ml-suite report demo --html "$REPORT" >/dev/null
ml-suite lineage demo
ml-suite report demo
printf '\nThe report:  file://%s\n' "$REPORT"
ml-suite services status
