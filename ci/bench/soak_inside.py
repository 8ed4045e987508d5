"""What the soak runs inside the twin: on ops for the ecFlow server and the relays, on sites for the jobs."""

from __future__ import annotations

LOAD = """
import ecflow, json, os, sys, tempfile, time
asked = json.load(sys.stdin)
defs = ecflow.Defs()
suite = defs.add_suite(asked["suite"])
for name, value in (("ECF_HOME", tempfile.mkdtemp()), ("ECF_JOB_CMD", "true"), ("ECF_SCRIPT_CMD", "echo :")):
    suite.add_variable(name, value)
for host in asked["hosts"]:
    family = suite.add_family(host)
    for n in range(asked["jobs"]):
        task = family.add_task(f"t{n}")
        task.add_meter("m", 0, asked["each"])
        task.add_label("l", "")
        for event in asked["events"]:
            task.add_event(event)
client = ecflow.Client(os.environ["ECF_HOST"], int(os.environ["ECF_PORT"]))
client.load(defs)
client.begin_suite(asked["suite"])
for _ in range(600):
    client.sync_local()
    tasks = [node for node in client.get_defs().get_all_nodes() if isinstance(node, ecflow.Task)]
    tasks = [task for task in tasks if task.get_abs_node_path().startswith("/" + asked["suite"] + "/")]
    if all(str(task.get_state()) == "submitted" for task in tasks):
        break
    time.sleep(0.1)
print(json.dumps({task.get_abs_node_path(): task.get_jobs_password() for task in tasks}))
"""
STATES = """
import ecflow, json, os, sys
client = ecflow.Client(os.environ["ECF_HOST"], int(os.environ["ECF_PORT"]))
client.sync_local()
suite = client.get_defs().find_suite(sys.argv[1])
found = {}
for task in suite.get_all_nodes():
    if isinstance(task, ecflow.Task):
        meter, label = next(iter(task.meters)).value(), next(iter(task.labels)).new_value()
        found[task.get_abs_node_path()] = [str(task.get_state()), meter, label]
print(json.dumps(found))
"""
# one job of the suite: what it said goes to sent.N with the time at which the shim had taken it
PLAY = """\
#!/bin/bash
# usage: play.sh JOBS EACH PAUSE
cd "$(dirname "$0")"
play() {
    . "./env.$1"
    say() { ecflow_client "$@" 2>>"errors.$N" || echo "$*" >>"failed.$N"; echo "$EPOCHREALTIME $*" >>"sent.$N"; }
    N=$1
    say --init="$ECF_RID"
    for ((k = 1; k < $2 - 1; k++)); do
        case $((k % 3)) in
            0) say --event="e$k" ;;
            1) say --meter=m "$k" ;;
            2) say --label=l "step $k" ;;
        esac
        sleep "$3"
    done
    say --complete
}
for ((n = 0; n < $1; n++)); do play "$n" "$2" "$3" & done
wait
touch ended
"""
# starts a relay again whenever it dies, until it is told to stop
KEEP = """\
cd ~/{folder}; rm -f stop; nohup setsid bash -c 'while [ ! -e stop ]; do
python3.11 -m ml_suite.relay --host {host} --spool {spool} --interval {interval} >>relay-{host}.log 2>&1 </dev/null &
echo $! >relay-{host}.pid; wait $!; sleep 0.2; done' >/dev/null 2>&1 </dev/null &
"""
