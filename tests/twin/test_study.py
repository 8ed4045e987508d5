"""One two-step study over the four machines: trials on three, step 2 on the fourth, two of them locked at first."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from ci.twin import auth
from ci.twin.plan import SITES, find_site
from ci.twin.state import Folder

from ml_suite.home import cache
from tests.twin.conftest import Twin, wait_until

pytestmark = [pytest.mark.twin, pytest.mark.anemoi, pytest.mark.timeout(900)]

ENVIRONMENTS = {
    "lumi": "/project/project_465000000",
    "leonardo": "/leonardo_work/deste_340_26",
    "marenostrum5": "/gpfs/projects/ehpc01",
    "jupiter": "/e/project1/e-mlops",
}
WORK = {
    "lumi": "/scratch/project_465000000/ml-suite",
    "leonardo": "/leonardo_work/deste_340_26/ml-suite",
    "marenostrum5": "/gpfs/scratch/ehpc01/ml-suite",
    "jupiter": "/e/scratch/e-mlops/ml-suite",
}
CLOSE = (
    "from ml_suite.hosts import mux, reach; "
    "[mux.close_master(reach.known(h, e)) for h in ('leonardo', 'jupiter') for e in ('control', 'transfer') "
    "if (reach.folder() / f'{h}.json').exists()]"
)
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
    "! -path './relay/*' ! -path './services/ecflow/*check*' ! -path './services/*passwd*' "
    "\\( -name '*.log' -o -name '*.submit' -o -path './jobs/*' -o -path './ssh/*' -o -path './suites/*' \\)"
)


@dataclass
class Europe:
    """The suite while it runs, and what was seen of it."""

    twin: Twin
    listed: list[str] = field(default_factory=list)
    """Process lists of ops and of machines."""
    locked: dict[str, str] = field(default_factory=dict)
    """States of tasks while two machines needed a login."""
    label: str = ""
    """What ecFlow said of a locked machine."""
    aborted: str = ""

    def ops(self, line: str, timeout: float = 300) -> str:
        """Run a line of shell as the ops user."""
        return self.twin.must("exec", "ops", line, timeout=timeout)

    def client(self, arguments: str) -> str:
        return self.ops(f'eval "$(ml-suite services env)"; ecflow_client {arguments}')

    def state(self, path: str) -> str:
        return self.client(f"--query state /europe/{path}").strip()

    def until(self, path: str, state: str, seconds: float = 400) -> None:
        """Wait for a task; anything red ends the test with its reason."""

        def reached() -> bool:
            now = self.state(path)
            assert self.state("main") != "aborted", self.ops("ml-suite status europe")
            time.sleep(2)
            return now == state

        wait_until(reached, lambda: self.ops("ml-suite status europe"), seconds)

    def watch(self, stop: threading.Event) -> None:
        """Look at the processes of ops and of a compute node again and again."""
        while not stop.wait(1.0):
            for host in ("ops", "lumi-c1", "marenostrum5-c1"):
                self.listed.append(self.twin.run("exec", f"root@{host}", "ps -eo args").stdout)


@pytest.fixture(scope="module")
def europe(twin: Twin) -> Europe:
    """The suite, run to its end; a person logs in twice and does nothing else."""
    suite = Europe(twin)
    suite.ops(f"mkdir -p ~/.cache; ln -sfn {cache()} ~/.cache/ml-suite")
    for host, folder in ENVIRONMENTS.items():
        twin.must(
            "exec",
            host,
            f"mkdir -p {folder}/ml-suite; ln -sfn {cache()}/anemoi {folder}/ml-suite/environment",
        )
    twin.run("cut", "leonardo", "cert")
    suite.ops(f'python3 -c "{CLOSE}"')
    for host in ("lumi", "marenostrum5"):
        suite.ops(f"ml-suite hosts login {host}")
    stop = threading.Event()
    watching = threading.Thread(target=suite.watch, args=(stop,))
    watching.start()
    try:
        suite.ops(f"ml-suite deploy {twin.repository}/suites/twin -y")
        suite.until("main/hpo/shortlist", "complete")
        for path in (
            "setup/leonardo",
            "setup/jupiter",
            "main/hpo/step2/candidate_1",
            "main/hpo/step1/shard_0",
        ):
            suite.locked[path] = suite.state(path)
        suite.label = suite.client("--get_state /ml_suite/jupiter")
        twin.must("heal", "leonardo")
        suite.ops("ml-suite hosts login leonardo")
        for _ in ("control", "transfer"):
            login = ("exec", "ops", "ml-suite hosts login jupiter --code-stdin")
            twin.run(*login, stdin=twin.code("jupiter") + "\n")
        suite.until("lag", "complete")
        suite.aborted = suite.client("--get_state /europe")
    finally:
        stop.set()
        watching.join()
    return suite


def test_the_study_ends_with_registered_results_of_all_machines(europe: Europe) -> None:
    told = json.loads(europe.ops("ml-suite status europe --json"))
    assert told["outcome"] == "complete", told
    report = europe.ops("ml-suite report europe")
    assert "24 planned: 24 complete" in report
    assert "4 planned: 4 complete" in report
    lineage = europe.ops("ml-suite lineage europe --verify")
    assert "run step 2" in lineage


def test_a_locked_machine_makes_its_tasks_wait_and_nothing_red(europe: Europe) -> None:
    assert europe.locked == {
        "setup/leonardo": "queued",
        "setup/jupiter": "queued",
        "main/hpo/step2/candidate_1": "queued",
        "main/hpo/step1/shard_0": "complete",
    }
    assert "ml-suite hosts login jupiter" in europe.label
    assert "limit open 0" in europe.label
    assert "state:aborted" not in europe.aborted


def test_every_job_was_submitted_once(europe: Europe) -> None:
    names: Counter[str] = Counter()
    for site in SITES:
        log = europe.twin.run("exec", f"root@{site.name}-login", "cat /var/log/slurm/jobcomp.log").stdout
        names.update(
            word.removeprefix("Name=")
            for line in log.splitlines()
            for word in line.split()
            if word.startswith(("Name=step1.shard", "Name=step2.candidate"))
        )
    assert len(names) == 6 + 4
    assert set(names.values()) == {1}


def test_the_table_is_the_one_of_a_single_machine(europe: Europe) -> None:
    europe.ops(f"rm -rf ~/alone; mkdir ~/alone; cp {europe.twin.repository}/suites/twin/* ~/alone/")
    text = europe.ops("cat ~/alone/deployment.yaml")
    begin, end = text.index("hosts:\n"), text.index("outputs:")
    text = f"{text[:begin]}hosts:\n  local: {{limit: 2}}\n\n{text[end:]}"
    for old, new in {
        "suite: europe": "suite: alone",
        "../../recipes": f"{europe.twin.repository}/recipes",
        "gpus: 1, ": "",
        ", hosts: [lumi, leonardo, marenostrum5]": "",
        ", hosts: [jupiter]": "",
    }.items():
        assert old in text
        text = text.replace(old, new)
    europe.twin.must("exec", "ops", "cat > ~/alone/deployment.yaml", stdin=text)
    europe.ops("ml-suite deploy ~/alone -y")
    europe.ops("ml-suite status alone --watch")
    for step in (1, 2):
        one, other = (
            europe.ops(f"sha256sum < ~/ml-suite/work/suites/{suite}/once/study/step{step}.csv")
            for suite in ("europe", "alone")
        )
        assert one == other, f"step {step}"
    assert int(europe.ops("wc -l < ~/ml-suite/work/suites/alone/once/study/step1.csv")) == 25


def test_no_secret_is_to_be_seen(europe: Europe) -> None:
    secrets = json.loads(europe.twin.must("exec", "ops", "python3 -", stdin=SECRETS))
    assert len(secrets) > 40, "the passwords of tasks and the services' own"
    secrets += [auth.seed(Folder(europe.twin.folder), find_site("jupiter"))]
    texts = {"process list": "\n".join(europe.listed)}
    assert "ml_suite.jobs" in texts["process list"], "jobs were seen at work"
    listing = europe.ops(READABLE).split()
    assert any(name.endswith(".submit") for name in listing)
    texts["files of ops"] = europe.ops(f"{READABLE} -exec cat {{}} +")
    server = europe.client("--get_state")
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
    for site in SITES:
        scripts = f"{WORK[site.name]}/jobs/*/script"
        modes = europe.twin.must("exec", site.name, f"stat -c %a {scripts}").split()
        assert set(modes) == {"600"}, site.name
        text = europe.twin.must("exec", site.name, f"cat {scripts}")
        assert all(secret not in text for secret in others), site.name
