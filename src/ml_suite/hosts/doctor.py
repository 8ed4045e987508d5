"""Compare a real machine with its host file: small named checks, each with what was found and how to mend it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ml_suite import quantities
from ml_suite.errors import CredentialNeeded, HostBusy, HostUnreachable, MlSuiteError
from ml_suite.hosts import channel, credentials, slurm_facts
from ml_suite.hosts.host import Host
from ml_suite.hosts.reach import Reach

CLOCK = 30.0
"""Seconds by which the host's clock may differ; one-time codes bear as much."""

ROOM = 20 << 30
"""Bytes that a suite needs at least for a dataset and its checkpoints."""

PYTHON = (3, 9)
"""Oldest Python from which an environment can be made."""

Verdict = Literal["ok", "differs", "unknown", "login"]


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    verdict: Verdict
    found: str
    fix: str | None = None


@dataclass(frozen=True)
class Examined:
    """The host that is checked, and what a deployment would use of it."""

    host: Host
    way: Reach
    transfer: Reach
    account: str | None = None
    user: str | None = None

    def ask(self, script: str, *arguments: str) -> channel.Done:
        """Run a shell script at the host."""
        return channel.run(self.way, ["sh", "-c", script, "check", *arguments], timeout=30)

    def work(self) -> str:
        """Work folder."""
        return str(self.host.place(self.host.paths.work, self.account, self.user))


def check(examined: Examined) -> Iterator[Finding]:
    """Findings one after the other; without a way in, only that."""
    first = reach_of(examined.way)
    yield first
    if examined.transfer != examined.way:
        yield reach_of(examined.transfer)
    if first.verdict != "ok":
        return
    for name, one in CHECKS.items():
        if name in ("slurm", "account") and examined.host.scheduler != "slurm":
            continue
        yield _guarded(name, one, examined)


def _guarded(name: str, one: Callable[[Examined], Finding], examined: Examined) -> Finding:
    """One check that cannot be made does not end the others."""
    try:
        return one(examined)
    except CredentialNeeded as error:
        return Finding(name, "login", error.message, error.hint)
    except MlSuiteError as error:
        verdict: Verdict = "unknown" if isinstance(error, HostBusy | HostUnreachable) else "differs"
        return Finding(name, verdict, error.message, error.hint)


def reach_of(way: Reach) -> Finding:
    """The connection is open, or can be opened."""
    name = "reach" if way.endpoint == "control" else f"reach {way.endpoint}"
    if way.here:
        return Finding(name, "ok", "this machine")
    start = time.monotonic()
    state = credentials.state(way)
    took = f"{1000 * (time.monotonic() - start):.0f} ms"
    if state.name == "needs-human":
        return Finding(name, "login", state.reason, state.hint)
    if not state.open:
        return Finding(name, "differs", state.reason, state.hint)
    left = f", {state.minutes} min left" if state.minutes is not None else ""
    verdict: Verdict = "ok" if state.name == "ready" else "login"
    return Finding(name, verdict, f"{state.name} in {took}{left}", state.hint)


def silent_shell(examined: Examined) -> Finding:
    """Nothing but the command writes: rsync, sftp and streams break on greetings."""
    done = examined.ask("true")
    noise = (done.noise + done.err).strip()
    if noise:
        shown = noise.splitlines()[0][:60]
        fix = "Print only in interactive shells: begin ~/.bashrc there with `case $- in *i*) ;; *) return;; esac`."
        return Finding("shell", "differs", f"the login shell writes: {shown}", fix)
    return Finding("shell", "ok", "silent")


def clock(examined: Examined) -> Finding:
    """Its clock agrees with ours."""
    before = time.time()
    done = examined.ask("date +%s")
    middle = (before + time.time()) / 2
    if not done.out.strip().isdigit():
        return Finding("clock", "unknown", f"date answers {done.out.strip() or done.err.strip()!r}")
    # date has no fractions everywhere: the second is in its middle on average
    off = int(done.out) + 0.5 - middle
    if abs(off) > CLOCK:
        ahead = "ahead of" if off > 0 else "behind"
        fix = "Set the clock of this machine (timedatectl), or tell the site: times of jobs and codes would be wrong."
        return Finding("clock", "differs", f"{abs(off):.0f} s {ahead} ours", fix)
    return Finding("clock", "ok", f"within {max(1.0, abs(off)):.0f} s of ours")


def architecture(examined: Examined) -> Finding:
    """Its processors are those of the host file."""
    found, stated = examined.ask("uname -m").out.strip(), examined.host.architecture
    if stated and found != stated:
        fix = f"Write `architecture: {found}` into its host file, unless only the login nodes differ."
        return Finding("architecture", "differs", f"{found}, the host file says {stated}", fix)
    return Finding("architecture", "ok", found)


_WRITABLE = (
    'p=$1; while [ ! -e "$p" ]; do p=$(dirname "$p"); done; t="$p/.ml-suite-check.$$"; '
    '[ -w "$p" ] || { [ "$p" = "$1" ] && echo "you may not write there" >&2 '
    '|| echo "it is missing, and you may not make it in $p" >&2; exit 1; }; '
    'echo x >"$t" && rm -f "$t" && echo "$p"'
)


def work_folder(examined: Examined) -> Finding:
    """Suites can keep files there."""
    work = examined.work()
    done = examined.ask(_WRITABLE, work)
    if done.code:
        message = done.err.strip().splitlines()[-1:] or ["it cannot be written"]
        fix = "Look at account, quota and rights; or write `work:` under the host in the deployment."
        return Finding("work", "differs", f"{work}: {message[0]}", fix)
    there = done.out.strip()
    return Finding("work", "ok", work if there == work else f"{work} can be made in {there}")


_SPACE = (
    'p=$1; while [ ! -e "$p" ]; do p=$(dirname "$p"); done; echo "$p"; '
    'df -Pk "$p" | tail -n 1; df -Pi "$p" | tail -n 1'
)


def disk(examined: Examined) -> Finding:
    """The file system of the work folder has room; a quota may be smaller."""
    done = examined.ask(_SPACE, examined.work())
    place, *lines = done.out.splitlines() or ["?"]
    rows = [re.findall(r"(\d+)\s+(\d+)\s+(\d+)\s+\d+%", line) for line in lines]
    if not rows or not rows[0]:
        return Finding("disk", "unknown", f"df does not say: {done.err.strip()}")
    free = int(rows[0][0][2]) << 10
    text = f"{quantities.format_bytes(free)} free in {place}"
    if len(rows) > 1 and rows[1] and int(rows[1][0][0]) and int(rows[1][0][2]) < 10_000:
        return Finding(
            "disk", "differs", f"{rows[1][0][2]} more files fit", "Remove files, or choose another `work:`."
        )
    if free < ROOM:
        return Finding("disk", "differs", text, "Remove files, or choose another `work:`.")
    return Finding("disk", "ok", text)


_PYTHON = (
    'for p in "$1/bin/python" python3 python3.12 python3.11 python3.10 python3.9; do '
    '"$p" -c "import sys, venv; print(*sys.version_info[:3], sys.executable)" 2>/dev/null; done; true'
)


def python(examined: Examined) -> Finding:
    """The environment's Python, or one from which it can be made."""
    environment = str(examined.host.place(examined.host.paths.environment, examined.account, examined.user))
    found = [line.split(" ", 3) for line in examined.ask(_PYTHON, environment).out.splitlines()]
    good = [words for words in found if len(words) == 4 and tuple(map(int, words[:2])) >= PYTHON]
    if not good:
        oldest = ".".join(map(str, PYTHON))
        fix = "Load a newer one in your ~/.bashrc there (module load), or give `environment:` in the deployment."
        return Finding("python", "differs", f"no Python from {oldest} on with venv", fix)
    return Finding("python", "ok", f"{'.'.join(good[0][:3])} in {good[0][3]}")


_TOOLS = 'for t in "$@"; do command -v "$t" >/dev/null || echo "$t"; done'


def tools(examined: Examined) -> Finding:
    """Programs that ml-suite uses on every host."""
    wanted = ["tar", "mv", "sha256sum", "base64", "timeout", "rsync"]
    missing = examined.ask(_TOOLS, *wanted).out.split()
    if missing:
        return Finding(
            "tools", "differs", "missing: " + ", ".join(missing), "Ask the site, or install them in ~/bin."
        )
    return Finding("tools", "ok", ", ".join(wanted))


def slurm(examined: Examined) -> Finding:
    """Slurm answers, and its queues are those of the host file."""
    done = examined.ask("sinfo -h -o '%R|%l|%G|%c'")
    if done.code:
        message = done.err.strip().splitlines()[-1:] or [f"sinfo ended with exit code {done.code}"]
        return Finding("slurm", "differs", message[0], "Ask the site whether Slurm is up.")
    wrong = slurm_facts.queues_that_differ(examined.host, slurm_facts.queues(done.out))
    if wrong:
        return Finding("slurm", "differs", "; ".join(wrong), "Mend `partitions:` in its host file.")
    return Finding("slurm", "ok", "answers; partitions as in the host file")


def account(examined: Examined) -> Finding:
    """Slurm knows who pays."""
    mine = examined.account or examined.host.account
    done = examined.ask('sacctmgr -nP show assoc user="$(id -un)" format=account')
    known = sorted(set(done.out.split()))
    if done.code or not known:
        why = done.err.strip().splitlines()[-1:] or ["sacctmgr names none"]
        return Finding("account", "unknown", why[0])
    if not mine:
        verdict: Verdict = "differs" if examined.host.needs_account else "ok"
        fix = "Write `account:` under the host in the deployment." if verdict == "differs" else None
        return Finding("account", verdict, "yours: " + ", ".join(known), fix)
    if mine.lower() not in {name.lower() for name in known}:
        fix = f"Write one of yours as `account:`: {', '.join(known)}."
        return Finding("account", "differs", f"{mine} is not among yours", fix)
    return Finding("account", "ok", mine)


CHECKS: dict[str, Callable[[Examined], Finding]] = {
    "shell": silent_shell,
    "clock": clock,
    "architecture": architecture,
    "work": work_folder,
    "disk": disk,
    "python": python,
    "tools": tools,
    "slurm": slurm,
    "account": account,
}
"""In the order in which they are made."""
