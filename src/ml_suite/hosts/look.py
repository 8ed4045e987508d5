"""One look at all jobs of a host: squeue, sacct and the jobs' own files, in one round trip over the open connection.

Standard library only.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ml_suite.hosts import channel
from ml_suite.hosts.jobfile import Remote
from ml_suite.hosts.reach import Reach
from ml_suite.hosts.states import SACCT, SQUEUE, Outcome, Seen, judge, squeue
from ml_suite.hosts.verdict import Accounts

OUTPUT = 200_000
"""Bytes of a job's output that are brought here at most."""
_ALL_OUTPUTS = 8_000_000
_SECONDS = 20
"""For squeue and for sacct; together less than the channel's patience."""

# $1 mark, $2 bytes of an output; stdin: IDS|COUNTER|FILES|FOLDER, ids with commas, FILES as they were when the output
# was brought. Only programs that busybox has too.
_SCRIPT = (
    """\
LC_ALL=C; export LC_ALL
mark=$1 bytes=$2
limited() { if command -v timeout >/dev/null; then timeout SECONDS "$@"; else "$@"; fi; }
jobs=$(cat)
queue=$(limited SQUEUE 2>&1); code=$?
printf '%s squeue %s\\n%s' "$mark" "$code" "$queue"
lines="
$queue"
alive=,
ask=
numbers=$(printf '%s\\n' "$jobs" | while IFS='|' read -r ids counter brought folder; do
    printf '%s,' "$ids"
    cat "$folder"/claim.*/id 2>/dev/null
done)
for id in $(printf '%s' "$numbers" | tr , ' '); do
    case $alive$ask, in *",$id,"*) continue ;; esac
    case $lines in
        *"
$id|RUNNING|"* | *"
$id|PENDING|"*) alive=$alive$id, ;;
        *) ask=$ask,$id ;;
    esac
done
if [ -n "$ask" ]; then
    accounts=$(limited SACCT --jobs="${ask#,}" 2>&1); code=$?
    printf '\\n%s sacct %s\\n%s' "$mark" "$code" "$accounts"
fi
printf '%s\\n' "$jobs" | while IFS='|' read -r ids counter brought folder; do
    printf '\\n%s job %s' "$mark" "$folder"
    [ -d "${folder%/*}" ] || { printf '\\nunreadable'; continue; }
    for waiting in "${folder%/jobs/*}/spool/new/$counter"*; do
        [ ! -e "$waiting" ] || { printf '\\nspooled'; break; }
    done
    [ -d "$folder" ] || { printf '\\ngone'; continue; }
    cd "$folder" || { printf '\\nunreadable'; continue; }
    last=
    for claim in claim.*; do
        number=${claim#claim.}
        case $number in *[!0-9]*) continue ;; esac
        [ -s "$claim/id" ] || continue
        printf '\\nclaim %s %s' "$number" "$(head -c 100 "$claim/id")"
        [ "$number" -lt "${last:-0}" ] || last=$number
    done
    [ ! -e cancelled ] && [ ! -e withdrawn ] || printf '\\nstopped'
    [ -z "$last" ] || [ ! outcome -nt "claim.$last/id" ] || printf '\\nfresh'
    files=$(ls -ln outcome reason output claim.* 2>/dev/null | cksum)
    printf '\\nfiles %s' "$files"
    [ ! -s reason ] || { printf '\\n%s reason\\n' "$mark"; head -c 1000 reason; }
    over=1
    for id in $(printf '%s' "$ids" | tr , ' '); do
        case $alive in *",$id,"*) over= ;; esac
    done
    if [ -s outcome ]; then
        read -r word rest <outcome
        [ "$word" = again ] || over=1
        printf '\\n%s outcome\\n' "$mark"
        head -c 2000 outcome
    fi
    if [ -n "$over" ] && [ -e output ] && [ "$files" != "$brought" ]; then
        printf '\\n%s size %s' "$mark" "$(wc -c <output)"
        printf '\\n%s output\\n' "$mark"
        tail -c "$bytes" output
    fi
done
""".replace("SECONDS", str(_SECONDS))
    .replace("SQUEUE", shlex.join(SQUEUE))
    .replace("SACCT", shlex.join(SACCT))
)


@dataclass(frozen=True)
class Files:
    """What a job keeps at its host."""

    readable: bool = False
    folder: bool = False
    claims: Mapping[int, str] = field(default_factory=dict)
    """Slurm's number of each job of the chain that began, by its place in the chain."""
    stopped: bool = False
    """A person stopped the task, or a later submission took its place."""
    fresh: bool = False
    """The outcome is younger than the start of the last job of the chain."""
    print: str = ""
    spooled: bool = False
    """A child command of the job waits for the relay."""
    outcome: str = ""
    reason: str = ""
    output: str | None = None
    """Its end, once the job is over and it is not here."""
    size: str = ""
    """Bytes of all of it."""

    @property
    def word(self) -> str:
        """First line of the outcome; empty while it is being written."""
        first, end, _ = self.outcome.partition("\n")
        return first.strip() if end or len(self.outcome) > 1000 else ""

    @property
    def said(self) -> bool:
        """The job thinks that ecFlow or the relay has it."""
        return "said" in self.outcome.splitlines()[1:]


@dataclass(frozen=True)
class Look:
    """Everything that a host said of the jobs that it was asked about."""

    queue: str | None
    """Output of squeue; None if it failed."""
    accounts: Accounts
    accounted: str | None
    """Output of sacct; None if it failed or there are no accounts."""
    files: Mapping[str, Files] = field(default_factory=dict)
    """By the job's folder."""
    complaint: str = ""
    """What squeue or sacct said instead of an answer."""

    def links(self, remote: Remote) -> tuple[Seen, ...]:
        """The Slurm jobs of a submission.

        A copy of a job that was submitted twice in spite of everything ends at once without a word: what counts is the
        one that began. Jobs that bear the name and are on no record count as long as they may do something.
        """
        claims = self.of(remote).claims
        places = range(1, max([len(remote.ids), *claims]) + 1)
        ids = [claims.get(n) or remote.ids[n - 1] for n in places if n in claims or n <= len(remote.ids)]
        here = squeue(self.queue or "").values() if remote.key else ()
        named = [
            s.job for s in here if s.name == remote.key and s.outcome in (Outcome.RUNNING, Outcome.PENDING)
        ]
        ids += [job for job in (*remote.ids, *named) if job in named and job not in ids]
        return tuple(judge(job, self.queue, self.accounted, name=remote.key) for job in dict.fromkeys(ids))

    def of(self, remote: Remote) -> Files:
        """Files of a submission."""
        return self.files.get(remote.folder, Files())


def look(way: Reach, jobs: Iterable[tuple[Remote, str, str]]) -> Look:
    """Ask a host about jobs.

    Parameters
    ----------
    jobs
        Each with the beginning of the names of its child commands in the spool, and `Files.print` of the time when its
        output was brought.

    Raises
    ------
    MlSuiteError
        As `channel.run`: nothing is known then.
    """
    chosen = list(jobs)
    given = "".join(f"{','.join(r.ids)}|{counter}|{brought}|{r.folder}\n" for r, counter, brought in chosen)
    mark = "ml-suite-" + secrets.token_hex(8)
    bytes_each = min(OUTPUT, _ALL_OUTPUTS // max(1, len(chosen)))
    done = channel.run(way, ["sh", "-c", _SCRIPT, "look", mark, str(bytes_each)], stdin=given)
    return parse(done.out, mark)


def parse(text: str, mark: str) -> Look:
    """Read what the script wrote; what was cut off is missing."""
    queue, accounted, accounts, complaints = None, None, Accounts.ANSWERED, []
    files: dict[str, Files] = {}
    folder = ""
    for part in ("\n" + text).split(f"\n{mark} ")[1:]:
        head, _, body = part.partition("\n")
        what, _, rest = head.partition(" ")
        if what == "squeue":
            queue = body if rest == "0" else None
            complaints += [] if rest == "0" else [f"squeue: {_said(body)}"]
        elif what == "sacct":
            accounts = _answer(rest, body)
            accounted = body if accounts is Accounts.ANSWERED else None
            complaints += [f"sacct: {_said(body)}"] if accounts is Accounts.FAILED else []
        elif what == "job":
            folder = rest
            files[folder] = _files(body.splitlines())
        elif what == "size":
            files[folder] = replace(files[folder], size=rest)
        elif what == "reason":
            files[folder] = replace(files[folder], reason=body)
        elif what == "outcome":
            files[folder] = replace(files[folder], outcome=body)
        elif what == "output":
            files[folder] = replace(files[folder], output=body)
    return Look(queue, accounts, accounted, files, "; ".join(complaints))


def counter(path: str, number: str) -> str:
    """Beginning of the names of a job's child commands in the spool; empty if they cannot be told from others'.

    >>> counter("/demo/main/train", "2")
    'demo.main.train.2.'
    """
    name = path.strip("/").replace("/", ".") + f".{number}"
    return f"{name}." if len(name) <= 180 and re.fullmatch(r"[A-Za-z0-9_.]+", name) else ""


def _answer(code: str, text: str) -> Accounts:
    if code == "0":
        return Accounts.ANSWERED
    return Accounts.NONE if code == "127" or "accounting storage is disabled" in text else Accounts.FAILED


def _said(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no answer"


def _files(lines: list[str]) -> Files:
    words = dict(line.partition(" ")[::2] for line in lines if not line.startswith("claim "))
    claims = [line.split() for line in lines if line.startswith("claim ")]
    return Files(
        readable="unreadable" not in words,
        folder="unreadable" not in words and "gone" not in words,
        claims={
            int(c[1]): c[2] for c in sorted(claims) if len(c) == 3 and c[1].isdecimal() and c[2].isdecimal()
        },
        stopped="stopped" in words,
        fresh="fresh" in words,
        print=words.get("files", ""),
        spooled="spooled" in words,
    )
