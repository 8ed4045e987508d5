"""One two-step study over the four machines: trials on three, step 2 on the fourth, two of them locked at first."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass, field

import pytest
from ci.twin import auth
from ci.twin.plan import SITES, find_site
from ci.twin.state import Folder

from tests.twin.conftest import Twin
from tests.twin.operator import WORK, Operator

pytestmark = [pytest.mark.twin, pytest.mark.anemoi, pytest.mark.timeout(900)]

SECRETS = """
import json, re
from pathlib import Path
home = Path.home() / "ml-suite"
known = json.loads((home / "connections.json").read_text())
found = {known["s3"]["secret_access_key"], known["mlflow"]["token"], known["catalogue"]["token"]}
for script in (home / "jobs").rglob("*.job[0-9]*"):
    found |= set(re.findall(r"^export ECF_PASS='([^']+)'", script.read_text(), re.M))
print(json.dumps(sorted(filter(None, found))))
"""
# what a person, a program or another user could read of the run: logs, outputs, records; not the files that are
# there to hold a credential, which are 0600
READABLE = (
    "cd ~/ml-suite && find . -type f ! -name connections.json ! -name '*.job[0-9]*' ! -path './services/*/data/*' "
    "! -path './relay/*' "
    "\\( -name '*.log' -o -name '*.submit' -o -path './jobs/*' -o -path './ssh/*' -o -path './suites/*' \\)"
)


@dataclass
class Europe:
    """The suite at its end, and what was seen of it on the way."""

    operator: Operator
    listed: list[str] = field(default_factory=list)
    """Process lists of ops and of machines."""
    locked: dict[str, str] = field(default_factory=dict)
    """States of tasks while two machines needed a login."""
    label: str = ""
    """What ecFlow said of a locked machine."""

    @property
    def twin(self) -> Twin:
        return self.operator.twin

    def ops(self, line: str) -> str:
        return self.operator.ops(line)

    def watch(self, stop: threading.Event) -> None:
        """Look at the processes of ops and of a compute node again and again."""
        while not stop.wait(1.0):
            for host in ("ops", "lumi-c1", "marenostrum5-c1"):
                self.listed.append(self.twin.run("exec", f"root@{host}", "ps -eo args").stdout)


@pytest.fixture(scope="module")
def europe(twin: Twin) -> Europe:
    """The suite, run to its end; a person logs in twice and does nothing else."""
    operator = Operator(twin)
    suite = Europe(operator)
    operator.prepare()
    operator.lock_out("leonardo", "jupiter")
    operator.log_in("lumi", "marenostrum5")
    stop = threading.Event()
    watching = threading.Thread(target=suite.watch, args=(stop,))
    watching.start()
    try:
        operator.ops(f"ml-suite deploy {twin.repository}/suites/twin -y")
        operator.until("/europe/main/hpo/shortlist")
        for path in (
            "setup/leonardo",
            "setup/jupiter",
            "main/hpo/step2/candidate_1",
            "main/hpo/step1/shard_0",
        ):
            suite.locked[path] = operator.state(f"/europe/{path}")
        suite.label = operator.client("--get_state /ml_suite/jupiter")
        operator.log_in("leonardo", "jupiter")
        operator.until("/europe/lag")
    finally:
        stop.set()
        watching.join()
    return suite


def test_the_study_ends_with_registered_results_of_all_machines(europe: Europe) -> None:
    told = json.loads(europe.ops("ml-suite status europe --json"))
    assert told["outcome"] == "complete", told
    report = europe.ops("ml-suite report europe")
    assert "24 planned: 12 complete, 12 pruned" in report
    assert "4 planned: 4 complete" in report
    lineage = europe.ops("ml-suite lineage europe --verify")
    assert "run step 2" in lineage
    told = json.loads(europe.ops("cat ~/ml-suite/work/suites/europe/once/registered.json"))["metadata"]
    assert told["host"] == told["environment"]["host"] == "jupiter", "what trained the winner"
    assert told["environment"]["software"]["anemoi-training"]


def test_a_locked_machine_makes_its_tasks_wait_and_nothing_red(europe: Europe) -> None:
    assert europe.locked == {
        "setup/leonardo": "queued",
        "setup/jupiter": "queued",
        "main/hpo/step2/candidate_1": "queued",
        "main/hpo/step1/shard_0": "complete",
    }
    assert "ml-suite hosts login jupiter" in europe.label
    assert "limit open 0" in europe.label
    log = europe.ops("cat ~/ml-suite/services/ecflow/data/ecf.log")
    assert " aborted: /europe" not in log
    assert " complete: /europe/main" in log


def test_every_job_was_submitted_once(europe: Europe) -> None:
    records = "find ~/ml-suite/jobs/europe -name '*.job' -exec grep -h '\"key\"' {} + || true"
    keys = {json.loads(line)["key"] for line in europe.ops(records).splitlines()}
    assert len(keys) == 6 + 4
    names: Counter[str] = Counter()
    for site in SITES:
        log = europe.twin.run("exec", f"root@{site.name}-login", "cat /var/log/slurm/jobcomp.log").stdout
        names.update(
            word.removeprefix("Name=")
            for line in log.splitlines()
            for word in line.split()
            if word.removeprefix("Name=") in keys
        )
    assert names == dict.fromkeys(keys, 1)


def test_the_table_is_the_one_of_a_single_machine(europe: Europe) -> None:
    # a pilot judges a search that is stated, and changes nothing of it
    piloted = ("hpo:\n", "hpo:\n  pilot: {configurations: 8}\n")
    europe.operator.deploy("alone", piloted, alone=True)
    europe.operator.until("/alone/lag")
    one, other = europe.operator.tables("europe"), europe.operator.tables("alone")
    assert one == other
    told = json.loads(europe.ops("cat ~/ml-suite/work/suites/alone/once/study/certificate.json"))
    assert told["pilot_trainings"] >= 16
    assert told["sentence"]
    assert [len(table.splitlines()) for table in one] == [1 + 24, 1 + 4]


ANEMOI = """\
suite: weights
dataset:
  recipe: {repository}/recipes/demo-na-an-storm-ncl-1p25-1996-1996-6h-v1.yaml
  sources: ~/.cache/ml-suite/sources/storm1996
  parts: 2
training:
  config: {repository}/suites/demo/training/storm.yaml
  resources: {{cpus: 1, walltime: 20m}}
  epochs: 3
hpo:
  metric: val_multi_dataset_loss_epoch
  space:
    training.optimization.lr: {{log: [1.0e-3, 3.0e-2]}}
  step1:
    {{trials: 4, subset: 50%, epochs: 2, shards: 2, hosts: [lumi, leonardo, marenostrum5],
      rungs: {{at: [1], cohort: 2}}, patience: 1 epochs, trial_walltime: 10m}}
  step2: {{keep: 1, patience: 20 steps, hosts: [jupiter]}}
hosts:
  lumi:         {{account: project_465000000, limit: 1, server: "ecflow.ops.twin:3141"}}
  leonardo:     {{account: deste_340_26, limit: 1}}
  marenostrum5: {{account: ehpc01, limit: 1}}
  jupiter:      {{account: e-mlops, limit: 1}}
outputs: {{checkpoints: s3://ml-weights/weights}}
"""


def test_weights_trained_on_the_machines_are_registered(europe: Europe) -> None:
    text = ANEMOI.format(repository=europe.twin.repository)
    europe.operator.ops("mkdir -p ~/weights; cat > ~/weights/deployment.yaml", stdin=text)
    europe.ops("ml-suite deploy ~/weights -y")
    europe.operator.until("/weights/lag")
    told = json.loads(europe.ops("cat ~/ml-suite/work/suites/weights/once/registered.json"))
    assert told["weights"], told
    assert told["promoted"]
    assert told["metadata"]["host"] == "jupiter"
    assert "4 planned: 2 complete, 2 pruned" in europe.ops("ml-suite report weights")
    assert "uuid inside the file" in europe.ops("ml-suite lineage weights --verify")


def test_no_secret_is_to_be_seen(europe: Europe) -> None:
    secrets = json.loads(europe.twin.must("exec", "ops", "python3 -", stdin=SECRETS))
    assert len(secrets) > 40, "the passwords of tasks and the services' own"
    secrets += [auth.seed(Folder(europe.twin.folder), find_site("jupiter"))]
    texts = {"process list": "\n".join(europe.listed)}
    assert "ml_suite.jobs" in texts["process list"], "jobs were seen at work"
    listing = europe.ops(READABLE).split()
    assert any(name.endswith(".submit") for name in listing)
    texts["files of ops"] = europe.ops(f"{READABLE} -exec grep -Ih . {{}} +")
    server = europe.operator.client("--get_state")
    texts["variables"] = "\n".join(line for line in server.splitlines() if line.split()[:1] == ["edit"])
    for site in SITES:
        work = WORK[site.name]
        texts[f"outputs on {site.name}"] = europe.twin.run(
            "exec", site.name, f"cat {work}/jobs/*/output"
        ).stdout
        texts[f"names on {site.name}"] = europe.twin.run("exec", site.name, f"find {work}").stdout
        log = f"root@{site.name}-login"
        texts[f"logs of {site.name}"] = europe.twin.run(
            "exec", log, "cat /var/log/*.log /var/log/slurm/*"
        ).stdout
    for place, text in texts.items():
        assert [secret for secret in secrets if secret in text] == [], place


def test_job_scripts_are_private_and_hold_no_secret_but_their_own(europe: Europe) -> None:
    known = json.loads(europe.ops("cat ~/ml-suite/connections.json"))
    others = [known["s3"]["secret_access_key"], known["catalogue"]["token"]]
    found: set[str] = set()
    for site in SITES:
        scripts = f"{WORK[site.name]}/jobs/*/script"
        listed = europe.twin.must("exec", site.name, f"ls -l {scripts} 2>/dev/null || true")
        modes = {line.split()[0] for line in listed.splitlines()}
        assert modes <= {"-rw-------"}, site.name
        found |= modes
        text = europe.twin.must("exec", site.name, f"cat {scripts} 2>/dev/null || true")
        assert all(secret not in text for secret in others), site.name
    assert found, "scripts were looked at"
