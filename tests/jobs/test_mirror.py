"""What comes from another host, over a real sshd with a real rsync."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.errors import CredentialNeeded, HostError, HostUnreachable
from ml_suite.hosts import channel, fetch, mux, reach
from ml_suite.jobs import mirror, planning
from ml_suite.jobs.mirror import rules
from ml_suite.study import record
from tests.hosts.sshd_fixture import Sshd, wait_for
from tests.jobs.remote_rig import Remote, make_remote
from tests.jobs.study_rig import Rig

TRIAL = "suites/rig/once/study/step1/trials/00000"


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd) -> tuple[Rig, Remote]:
    """A planned study and a host with the trials of shard 0."""
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way)
    rig.study("plan")
    far.shard(0)
    return rig, far


def finish(rig: Rig, far: Remote) -> None:
    """Run the rest of step 1 here and the best candidate there."""
    rig.study("shard", "--shard", "1")
    far.pull()
    rig.study("shortlist")
    far.retrain(1)


def same(far: Remote) -> bool:
    """Everything in the mirror is what the host has."""
    theirs = far.contents()
    mine = {name: digest for name, digest in far.contents(far.mirror).items() if "receipts" not in name}
    return bool(mine) and all(theirs[name] == digest for name, digest in mine.items())


def test_records_parcels_and_small_files_come_and_nothing_else(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    before = far.contents()
    (far.work / TRIAL / "training").mkdir()
    (far.work / TRIAL / "training" / "last.ckpt").write_bytes(b"x" * 1000)
    (far.work / TRIAL / "link").symlink_to("/etc/passwd")
    with (far.work / TRIAL / "metrics.jsonl").open("wb") as endless:
        endless.truncate(fetch.LARGEST + 1)
    got = far.pull()
    names = set(far.contents(far.mirror))
    study = "suites/rig/once/study"
    for trial in (0, 2, 4):
        folder = f"{study}/step1/trials/{trial:05d}"
        assert {f"{folder}/{x}" for x in ("trial.json", "result.json", "log.txt")} <= names
    assert {f"{study}/plan.json", f"{study}/step1/000.jsonl"} <= names
    assert sum(name.startswith("suites/rig/outbox/") for name in names) == 3
    assert not [
        n for n in names if Path(n).suffix in (".zarr", ".ckpt", ".bin") or "outcome" in n or "lock" in n
    ]
    assert not (far.mirror / TRIAL / "link").is_symlink()
    assert got.files == len(names)
    assert got.bytes == sum((far.mirror / name).stat().st_size for name in names)
    assert same(far)
    assert before.items() <= far.contents().items()
    assert [r.trial for r in planning.results(rig.job, 1)] == [0, 2, 4]
    assert planning.results(far.job, 1) == record.merge(far.job.tree.study.glob("step1/*.jsonl"))


def test_only_what_is_new_comes_again(pair: tuple[Rig, Remote]) -> None:
    _, far = pair
    assert far.pull().files > 0
    assert (far.pull().files, far.pull().bytes) == (0, 0)
    parcel = next((far.work / "suites/rig/outbox").glob("*.json"))
    parcel.write_text(parcel.read_text().replace("FINISHED", "FAILED__"))  # as long as before
    assert far.pull().files == 1
    assert same(far)


def test_a_line_that_is_half_written_waits_for_the_next_pull(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    path = far.job.tree.shard(1, "000")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    far.pull()
    assert [r.trial for r in planning.results(rig.job, 1)] == [0, 2]
    path.write_bytes(whole)
    far.pull()
    assert [r.trial for r in planning.results(rig.job, 1)] == [0, 2, 4]


def test_weights_come_when_they_are_asked_for(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    rig, far = pair
    finish(rig, far)
    got = far.pull()
    assert [path.name for path in got.waiting] == ["weights.bin"]
    assert far.pull(weights=True).waiting == ()
    [result] = planning.results(rig.job, 2)
    assert result.checkpoint is not None
    assert result.checkpoint.path.is_relative_to(far.mirror)
    assert same(far)
    assert sshd.connections == 1


def test_weights_go_over_the_endpoint_for_files(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    rig, far = pair
    finish(rig, far)
    reach.save((sshd.way, replace(sshd.way, endpoint=reach.TRANSFER, address="127.0.0.1", shell=False)))
    config = Path.home() / ".ssh" / "config"
    config.write_text(config.read_text().replace(f"Host {far.name}", f"Host {far.name} {far.name}-transfer"))
    assert far.pull(weights=True).waiting == ()
    assert sshd.connections == 2
    assert same(far)


def test_a_machine_that_only_copies_files_is_enough(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    rig, far = pair
    finish(rig, far)
    guard = sshd.folder / "only_copies"
    guard.write_text(
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in 'rsync --server '*) exec $SSH_ORIGINAL_COMMAND ;; esac\nexit 1\n"
    )
    guard.chmod(0o755)
    mux.close_master(sshd.way)
    sshd.stop()
    sshd.options = [f"ForceCommand {guard}"]
    sshd.start()
    assert far.pull(weights=True).waiting == ()
    assert same(far)


def test_a_host_where_nothing_ran_yet_has_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd
) -> None:
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way)
    assert (far.pull().files, far.pull(weights=True).waiting) == (0, ())
    far.work.rename(tmp_path / "gone")
    assert far.pull().files == 0
    assert planning.results(rig.job, 1) == []


def kill_when_files_come(far: Remote, words: list[str], later: float) -> bool:
    """SIGKILL a pull in the middle of its work; False if it was faster."""
    child = subprocess.Popen(words)
    incoming = far.mirror / fetch.TEMPORARY
    wait_for(lambda: child.poll() is not None or (incoming.exists() and any(incoming.iterdir())), "files")
    time.sleep(later)
    alive = child.poll() is None
    child.kill()
    child.wait()
    return alive


def test_killed_at_any_moment_a_pull_leaves_no_half_file(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    finish(rig, far)
    [result] = record.merge(far.job.tree.study.glob("step2/*.jsonl"))
    assert result.checkpoint is not None
    for number in range(200):
        (far.work / TRIAL).with_name(f"{100 + number:05d}").mkdir()
        ((far.work / TRIAL).with_name(f"{100 + number:05d}") / "log.txt").write_text(
            "x" * 20_000 + str(number)
        )
    resolved = rig.folder / "resolved.json"
    resolved.write_text(rig.job.resolved.model_dump_json())
    program = (
        "import sys; from ml_suite.config.resolved import Resolved; from ml_suite.jobs import mirror; "
        "mirror.pull(Resolved.load(sys.argv[1]), sys.argv[2], 'once', True)"
    )
    killed = 0
    for number in range(5):
        killed += kill_when_files_come(
            far, [sys.executable, "-c", program, str(resolved), far.name], 0.01 * number
        )
        assert not any((far.mirror / "suites").rglob("*")) or same(far)
        for path in (p for p in far.mirror.rglob("0*") if number % 2 and p.is_dir()):
            shutil.rmtree(path, ignore_errors=True)  # the rsync of the killed one may still write
    assert killed >= 2
    assert far.pull(weights=True).waiting == ()
    assert same(far)
    assert len(list(far.mirror.rglob("log.txt"))) == 200 + 3 + 1


def test_a_connection_that_died_is_opened_again(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    _, far = pair
    far.pull()
    found = mux.master(sshd.way)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    wait_for(lambda: mux.master(sshd.way) is None, "the end of ssh")
    far.pull()
    assert sshd.connections == 2


def test_a_connection_that_leads_nowhere_is_given_up(
    pair: tuple[Rig, Remote], sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, far = pair
    far.pull()
    monkeypatch.setattr(mirror, "_TRIALS_SECONDS", 3.0)
    monkeypatch.setattr(channel, "PROBE", 1.0)
    stopped = sshd.sessions()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(HostUnreachable):
            far.pull()
        assert not mux.listening(sshd.way)  # the next pull opens another one
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    far.pull()
    assert same(far)


def test_without_a_login_nothing_is_tried(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    _, far = pair
    reach.save((replace(sshd.way, auth="totp"),) * 2)
    with pytest.raises(CredentialNeeded) as told:
        far.pull()
    assert told.value.hint == f"Run: ml-suite hosts login {far.name}"
    assert sshd.connections == 0


def test_a_host_without_rsync_says_so(pair: tuple[Rig, Remote], sshd: Sshd) -> None:
    _, far = pair
    sshd.stop()
    sshd.options = ["ForceCommand sh -c 'echo sh: rsync: command not found >&2; exit 127'"]
    sshd.start()
    with pytest.raises(fetch.NoRsync, match="there is no rsync"):
        far.pull()


def test_what_cannot_be_written_here_is_told(pair: tuple[Rig, Remote]) -> None:
    _, far = pair
    (far.mirror / TRIAL / "log.txt" / "in the way").mkdir(parents=True)
    with pytest.raises(HostError, match="cannot be fetched"):
        far.pull()
    (far.mirror / TRIAL / "log.txt" / "in the way").rmdir()
    far.pull()
    assert same(far)


def test_rules_choose_by_suite_and_cycle() -> None:
    chosen = rules({"a": "once", "b": "*"}, trials=False)
    assert chosen[0] == "+ /suites/"
    assert chosen[-1] == "- *"
    assert "+ /suites/a/once/study/step[012]/*.jsonl" in chosen
    assert "+ /suites/b/*/study/step[012]/*.jsonl" in chosen
    assert not [rule for rule in chosen if "trials" in rule]
