#!/bin/bash
#: facts %ML_SUITE_FACTS:%
#: host %ML_SUITE_PLACES:%
#: resources %ML_SUITE_RESOURCES:%
#: inputs %ML_SUITE_INPUTS:%
#: nodes %NODES:%
#: tasks_per_node %TASKS_PER_NODE:%
#: gpus_per_node %GPUS_PER_NODE:%
#: cpus_per_task %CPUS_PER_TASK:%
#: walltime %WALLTIME:%
#: account %ACCOUNT:%
#: partition %PARTITION:%
#: qos %QOS:%
#: sbatch %SBATCH:%
# One try of %ECF_NAME%. This file carries the task's password: mode 0600, never shown.
set -eEuo pipefail
umask '%UMASK:027%'

# at another machine the lines before these say where it reaches the server, if it does
reached=("${ECF_HOST:-}" "${ECF_PORT:-}")
export ECF_PORT='%ECF_PORT%'
export ECF_HOST='%ML_SUITE_SERVER%'
export ECF_NAME='%ECF_NAME%'
export ECF_PASS='%ECF_PASS%'
export ECF_TRYNO='%ECF_TRYNO%'
# A dead server holds a job up for ten minutes at most; its keeper then goes on trying.
export ECF_TIMEOUT=600 ECF_ZOMBIE_TIMEOUT=60
export ML_SUITE_CYCLE='%ML_SUITE_CYCLE%'
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

if [ -n "${ML_SUITE_JOB:-}" ]; then
    [ -z "${reached[0]}" ] || export ECF_HOST=${reached[0]} ECF_PORT=${reached[1]}
    export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
else
    export ECF_RID=$$
    export ML_SUITE_HOST='%ML_SUITE_HOST%'
    export ML_SUITE_PYTHON='%ML_SUITE_PYTHON%'
    export ML_SUITE_LIB='%ML_SUITE_LIB%'
    export ML_SUITE_RESOLVED='%ML_SUITE_RESOLVED%'
    export ML_SUITE_OUTCOME="${ML_SUITE_OUTCOME:-%ECF_JOBOUT%.outcome}"
    export ML_SUITE_REASON='%ECF_JOBOUT%.reason'
    export OMP_NUM_THREADS='%CPUS:1%'
fi
export PYTHONPATH=$ML_SUITE_LIB
child=""

# The client prints the password when it gives up; outputs are shown in ecFlowUI.
ecflow() {
    ecflow_client "$@" 2>&1 | while IFS= read -r line; do
        printf '%%s\n' "${line//"$ECF_PASS"/***}" >&2
    done
}

# What ecFlow is to be told is written down first, so that somebody else can say it if the job cannot.
tell() {
    local word=$1 option=$2
    (umask 077 && printf '%%s\n' "$word" >"$ML_SUITE_OUTCOME")
    if ecflow "$option"; then
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

# The warning before the walltime, a kill or a shutdown: the work ends itself, and a chain goes on with its next job.
stop() {
    trap '' TERM INT HUP
    trap - ERR EXIT
    set +e
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child"
    fi
    if [ -n "${ML_SUITE_JOB:-}" ] && [ ! -e "$ML_SUITE_JOB/withdrawn" ]; then
        if [ "$ML_SUITE_LINK" -lt "$ML_SUITE_LINKS" ]; then
            printf 'again\n' >"$ML_SUITE_OUTCOME"
            exit 75
        fi
        # only the scheduler knows why: a node that was lost is no failure of the task, and the sweep asks it
        printf 'stopped by %%s\n' "$1" >"$ML_SUITE_OUTCOME"
        exit 143
    fi
    fail "stopped by $1 (kill, walltime or preemption)"
}

# in the background, because a shell that waits for its foreground hears no signal
run() {
    "$@" &
    child=$!
    wait "$child"
    child=""
}

job() {
    run "$ML_SUITE_PYTHON" -m ml_suite.jobs "$@"
}

trap 'fail "exit code $? at line $LINENO"' ERR
trap 'fail "ended early with exit code $?"' EXIT
trap 'stop TERM' TERM
trap 'stop INT' INT
trap 'stop HUP' HUP

rm -f "$ML_SUITE_REASON"
# a later job of a chain goes on where the first has said that it runs
if [ -z "${ML_SUITE_JOB:-}" ] || [ ! -e "$ML_SUITE_JOB/init" ]; then
    ecflow --init="$ECF_RID"
    [ -z "${ML_SUITE_JOB:-}" ] || : >"$ML_SUITE_JOB/init"
    [ -z "${ML_SUITE_PLACED:-}" ] || ecflow --label=place "$ML_SUITE_PLACED" || :
fi
