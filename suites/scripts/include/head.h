#!/bin/bash
# One try of %ECF_NAME%. This file carries the task's password: mode 0600, never shown.
set -eEuo pipefail
umask '%UMASK:027%'

export ECF_PORT='%ECF_PORT%'
export ECF_HOST='%ML_SUITE_SERVER%'
export ECF_NAME='%ECF_NAME%'
export ECF_PASS='%ECF_PASS%'
export ECF_TRYNO='%ECF_TRYNO%'
export ECF_RID=$$
# A dead server holds a job up for ten minutes at most; its keeper then goes on trying.
export ECF_TIMEOUT=600 ECF_ZOMBIE_TIMEOUT=60

export ML_SUITE_RESOLVED='%ML_SUITE_RESOLVED%'
export ML_SUITE_HOST='%ML_SUITE_HOST%'
export ML_SUITE_CYCLE='%ML_SUITE_CYCLE%'
export ML_SUITE_OUTCOME="${ML_SUITE_OUTCOME:-%ECF_JOBOUT%.outcome}"
export ML_SUITE_REASON='%ECF_JOBOUT%.reason'
export PYTHONPATH='%ML_SUITE_LIB%' PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export OMP_NUM_THREADS='%CPUS:1%'

# What ecFlow is to be told is written down first, so that the keeper can say it if the job cannot.
tell() {
    local word=$1 option=$2
    (umask 077 && printf '%%s\n' "$word" >"$ML_SUITE_OUTCOME")
    if ecflow_client "$option"; then
        printf 'said\n' >>"$ML_SUITE_OUTCOME"
    fi
}

fail() {
    local reason=$1
    trap - ERR TERM INT HUP EXIT
    set +e
    if [ -s "$ML_SUITE_REASON" ]; then
        reason=$(head -c 240 "$ML_SUITE_REASON")
    fi
    wait
    tell "abort $reason" "--abort=$reason"
    exit 1
}

job() {
    '%ML_SUITE_PYTHON%' -m ml_suite.jobs "$@"
}

trap 'fail "exit code $? at line $LINENO"' ERR
trap 'fail "ended early with exit code $?"' EXIT
trap 'fail "stopped by TERM (kill, walltime or preemption)"' TERM
trap 'fail "stopped by INT"' INT
trap 'fail "stopped by HUP"' HUP

rm -f "$ML_SUITE_REASON"
ecflow_client --init=$$
