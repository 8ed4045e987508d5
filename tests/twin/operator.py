"""What an operator does on the twin's ops host: log in, deploy, look."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.home import cache
from tests.twin.conftest import Twin, wait_until

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
LENT = ("anemoi", "envs", "sources")
"""Of the cache of the machine that runs the twin."""
CLOSE = """
import sys
from ml_suite.hosts import mux, reach
for host in sys.argv[1:]:
    if (reach.folder() / f"{host}.json").exists():
        for endpoint in (reach.CONTROL, reach.TRANSFER):
            mux.close_master(reach.known(host, endpoint))
"""


@dataclass
class Operator:
    """The ops user, and the environments that the sites would have."""

    twin: Twin

    def ops(self, line: str, timeout: float = 300, stdin: str = "") -> str:
        """Run a line of shell that has to succeed."""
        return self.twin.must("exec", "ops", line, timeout=timeout, stdin=stdin)

    def prepare(self) -> None:
        """Install the training environment everywhere."""
        # a cache of its own, to which this machine's, mounted read-only, lends what takes long to make
        self.ops(
            f"[ ! -L ~/.cache/ml-suite ] || rm ~/.cache/ml-suite; mkdir -p ~/.cache/ml-suite; "
            f"for name in {' '.join(LENT)}; do ln -sfn {cache()}/$name ~/.cache/ml-suite/$name; done"
        )
        for host, folder in ENVIRONMENTS.items():
            line = f"mkdir -p {folder}/ml-suite; ln -sfn {cache()}/anemoi {folder}/ml-suite/environment"
            self.twin.must("exec", host, line)

    def log_in(self, *hosts: str) -> None:
        """What a person types, with a certificate or codes where the site wants them."""
        for host in hosts:
            if host == "leonardo":
                self.twin.must("cert", "leonardo")
            if host == "jupiter":
                codes = "".join(f"{self.twin.code('jupiter')}\n" for _ in range(2))
                self.ops("ml-suite hosts login jupiter --code-stdin", stdin=codes)
            else:
                self.ops(f"ml-suite hosts login {host}")

    def lock_out(self, *hosts: str) -> None:
        """End the connections, so that a person has to log in again."""
        if "leonardo" in hosts:
            self.twin.run("cut", "leonardo", "cert")
        self.ops(f"python3 - {' '.join(hosts)}", stdin=CLOSE)
        if "ml_suite" in self.client("--suites"):
            # an earlier suite may have them open; what is deployed now must wait
            there = self.client("--get_state /ml_suite")
            for host in hosts:
                if f"family {host}" in there:
                    self._until_closed(host)

    def _until_closed(self, host: str) -> None:
        def closed() -> bool:
            time.sleep(1)
            return "limit open 0" in self.client(f"--get_state /ml_suite/{host}")

        wait_until(closed, lambda: f"{host} is still open")

    def client(self, arguments: str) -> str:
        """Ask the ecFlow server."""
        return self.ops(f'eval "$(ml-suite services env)"; ecflow_client {arguments}')

    def state(self, path: str) -> str:
        """State of a node."""
        return self.client(f"--query state {path}").strip()

    def until(self, path: str, state: str = "complete", seconds: float = 800) -> None:
        """Wait for a node; a red suite ends the test."""
        suite = path.split("/")[1]

        def reached() -> bool:
            time.sleep(2)
            assert self.state(f"/{suite}/main") != "aborted", self.ops(f"ml-suite status {suite}")
            return self.state(path) == state

        wait_until(reached, lambda: self.ops(f"ml-suite status {suite}"), seconds)

    def deploy(self, name: str, *changes: tuple[str, str], alone: bool = False) -> None:
        """Deploy the twin's study under another name; ALONE: on this machine only."""
        repository: Path = self.twin.repository
        text = (repository / "suites/twin/deployment.yaml").read_text()
        begin, end = text.index("hosts:\n"), text.index("outputs:")
        edits = [("suite: europe", f"suite: {name}"), ("../../recipes", f"{repository}/recipes"), *changes]
        if alone:
            text = f"{text[:begin]}hosts:\n  local: {{limit: 2}}\n\n{text[end:]}"
            edits += [
                ("gpus: 1, ", ""),
                (", hosts: [lumi, leonardo, marenostrum5]", ""),
                (", hosts: [jupiter]", ""),
            ]
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        self.ops(f"rm -rf ~/{name}; mkdir ~/{name}; cp {repository}/suites/twin/train.py ~/{name}/")
        self.ops(f"cat > ~/{name}/deployment.yaml", stdin=text)
        self.ops(f"ml-suite deploy ~/{name} -y")

    def tables(self, suite: str) -> list[str]:
        """Result tables of both steps."""
        folder = f"~/ml-suite/work/suites/{suite}/once/study"
        return [self.ops(f"cat {folder}/step{step}.csv") for step in (1, 2)]

    def records(self, suite: str, step: int) -> list[dict[str, Any]]:
        """Every line that trials left on the machines."""
        found = []
        for host, work in WORK.items():
            line = f"cat {work}/suites/{suite}/once/study/step{step}/*.jsonl 2>/dev/null || true"
            text = self.twin.must("exec", host, line)
            found += [json.loads(each) for each in text.splitlines()]
        return found
