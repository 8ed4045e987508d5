"""The script of a remote job: ecFlow's own, after lines for the scheduler and lines that say where it runs. Pure.

Standard library only: it is made for every job that ecFlow submits.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """What a job learns of the place where it runs."""

    folder: Path
    """WORK/jobs/KEY."""
    host: str
    python: Path
    library: Path
    resolved: Path
    links: int
    """Jobs of the chain."""
    spool: Path | None = None
    """None: the job reaches the ecFlow server."""
    server: str | None = None
    port: str | None = None
    placed: str = ""
    """Why this host was chosen of several; empty: it was named."""


_CLAIM = """\
# A second copy of this very job ends here without a word; the same job, started again by the scheduler, goes on.
ml_suite_claim() (
    [ ! -e "$ML_SUITE_JOB/withdrawn" ] || exit 3
    if [ -s "$ML_SUITE_OUTCOME" ]; then
        read -r word rest <"$ML_SUITE_OUTCOME"
        case $word in complete | abort) exit 3 ;; esac
    fi
    claim=$ML_SUITE_JOB/claim.$ML_SUITE_LINK
    mine=$claim.$SLURM_JOB_ID.$(uname -n).$$
    waited=0
    # the claim appears with its owner in it, by one rename that only one job can do
    until [ -s "$claim/id" ]; do
        if mkdir "$mine" && printf '%s\\n' "$SLURM_JOB_ID" >"$mine/id"; then
            mv -T "$mine" "$claim"
        fi 2>/dev/null
        [ ! -s "$claim/id" ] || break
        rm -rf "$mine"
        if [ "$waited" -ge 300 ]; then
            echo "ml-suite: cannot write in $ML_SUITE_JOB" >&2
            exit 1
        fi
        sleep 5
        waited=$((waited + 5))
    done
    rm -rf "$mine"
    read -r owner <"$claim/id"
    [ "$owner" = "$SLURM_JOB_ID" ] || exit 3
    # what the job is called in front of ecFlow stays the same over all links
    [ -s "$ML_SUITE_JOB/rid" ] || {
        printf '%s\\n' "$SLURM_JOB_ID" >"$ML_SUITE_JOB/rid.$SLURM_JOB_ID"
        ln "$ML_SUITE_JOB/rid.$SLURM_JOB_ID" "$ML_SUITE_JOB/rid" 2>/dev/null || :
    }
)
ml_suite_claim
case $? in 0) ;; 3) exit 0 ;; *) exit 1 ;; esac
unset -f ml_suite_claim
ECF_RID=$(cat "$ML_SUITE_JOB/rid")
export ECF_RID="${ECF_RID:-$SLURM_JOB_ID}"
"""


def prologue(setting: Setting) -> str:
    """Lines for a POSIX shell that come before those of ecFlow."""
    values = {
        "ML_SUITE_JOB": setting.folder,
        "ML_SUITE_HOST": setting.host,
        "ML_SUITE_PYTHON": setting.python,
        "ML_SUITE_LIB": setting.library,
        "ML_SUITE_RESOLVED": setting.resolved,
        "ML_SUITE_OUTCOME": setting.folder / "outcome",
        "ML_SUITE_REASON": setting.folder / "reason",
    }
    if setting.placed:
        values["ML_SUITE_PLACED"] = f"{setting.host}: {setting.placed}"
    if setting.spool:
        values["ML_SUITE_SPOOL"] = setting.spool
    else:
        values |= {"ECF_HOST": setting.server or "", "ECF_PORT": setting.port or ""}
    text = "".join(f"export {name}={shlex.quote(str(value))}\n" for name, value in values.items() if value)
    if setting.spool:
        shim = setting.library / "ml_suite" / "relay" / "shim"
        text += f"export PATH={shlex.quote(str(shim))}:$PATH\n"
    text += 'export ML_SUITE_LINK="${1:-1}"\n'
    # links that were added after a node failed are known there only
    text += f'ML_SUITE_LINKS=$(cat "$ML_SUITE_JOB/links" 2>/dev/null) || ML_SUITE_LINKS={setting.links}\n'
    text += 'export ML_SUITE_LINKS="${ML_SUITE_LINKS:-' + str(setting.links) + '}"\n'
    return text + _CLAIM


def composed(script: str, directives: Sequence[str], setting: Setting) -> str:
    """The whole script: its first line, the scheduler's lines, ours, and the rest."""
    first, _, rest = script.partition("\n")
    head = [first, *directives] if first.startswith("#!") else ["#!/bin/bash", *directives, first]
    return "\n".join(head) + "\n" + prologue(setting) + rest
