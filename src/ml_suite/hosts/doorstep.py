"""What runs at the host for one submission: text for a POSIX shell.

It may be cut off at any line and started again, also twice at once, also on another login node: a job of one name and
link is given to sbatch once. Whoever submits holds ``lock.N``, a symbolic link that names its process; when that is
gone the next one makes ``lock.N+1``, which only one can. Before sbatch is called for a job that may exist already,
Slurm is asked for its name. Standard library only.
"""

from __future__ import annotations

MISSING, REFUSED, UNTOLD, UNWRITABLE, WITHDRAWN = 11, 12, 13, 14, 15
"""Exit codes: files are missing; Slurm said no; nobody can tell now; the disk said no; it was cancelled."""

PATIENCE = 20
"""Seconds that a second attempt waits for the first."""

SETTLE = 60
"""Seconds after which a request that sbatch gave up can no longer arrive."""

# What Slurm says when it could not be asked, or when the same request will be taken later: slurm_errno.c of Slurm 22.05
# and 24.11, and munge
PASSING = (
    "Unable to contact slurm controller|Socket timed out|timed out on send/recv|Transport endpoint|Zero Bytes were"
    "|Connection (refused|reset|timed out)|connect failure|Communication connection|temporarily unavailable"
    "|temporarily unable|Unable to establish control|standby mode|Slurm backup controller|Protocol authentication"
    "|authentication credential|[Mm]unge|Message (send|receive) failure|Unexpected message|[Tt]oo many (open|pending)"
    "|MaxSubmit|SubmitJobLimit|job submit limit .*reached|Job limit exceeded|Slurmdbd|No route to host"
    "|Unable to allocate memory"
)

LOCK = """\
start_of() { cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null; }

# of another login node nobody here can tell: it is gone when it had its time
gone() {
    case $1 in
        "$(uname -n)":*)
            number=${1#*:}
            [ "$(start_of "${number%%:*}")" != "${number#*:}" ]
            ;;
        *) [ -n "$(find "$2" -prune -mmin +15 2>/dev/null)" ] ;;
    esac
}

top_lock() {
    top=0
    for file in "$JOB"/lock.*; do
        [ ! -L "$file" ] || [ "${file##*.}" -le "$top" ] || top=${file##*.}
    done
}

lock() {
    rounds=0
    while :; do
        top_lock
        owner=$(readlink "$JOB/lock.$top" 2>/dev/null)
        if [ "$top" -eq 0 ] || [ -e "$JOB/free.$top" ] || gone "$owner" "$JOB/lock.$top"; then
            next=$((top + 1))
            if ln -s "$(uname -n):$$:$(start_of $$)" "$JOB/lock.$next" 2>/dev/null; then
                mine=$next
                return 0
            fi
        fi
        [ "$rounds" -lt $((PATIENCE * 5)) ] || return 1
        rounds=$((rounds + 1))
        sleep 0.2
    done
}

words() { tail -n 4 "$1" | cut -c 1-300 | tr '\\n' ' '; }

holds() { top_lock; [ "$top" = "$mine" ]; }

stop() {
    code=$1
    shift
    [ -z "$mine" ] || : >"$JOB/free.$mine"
    printf '%s\\n' "$@"
    exit "$code"
}

JOB=$WORK/jobs/$KEY
mine=
trap '' HUP PIPE
umask 077
LC_ALL=C
export LC_ALL
"""

SUBMIT = (
    LOCK
    + """\
named() { timeout 45 squeue --me --noheader --states=all --name="$1" --format='%i|%t|%V' 2>"$JOB/squeue.err"; }

missing=
[ -d "$LIBRARY/ml_suite" ] || missing="$missing library"
[ -d "$FILES" ] || missing="$missing files"
[ -z "$missing" ] || stop $MISSING "missing$missing"

mkdir -p "$WORK/jobs" 2>/dev/null
new=
if mkdir "$JOB" 2>/dev/null; then
    new=yes
elif [ ! -d "$JOB" ]; then
    stop $UNWRITABLE "$(mkdir -p "$JOB" 2>&1)"
fi
[ ! -e "$JOB/withdrawn" ] || stop $WITHDRAWN withdrawn
lock || stop $UNTOLD "another attempt to submit it is under way"

# a connection that breaks looks like the end of the input, so the last file says that it was whole
parts=$JOB/parts.$mine
tar=$JOB/tar.$mine
mkdir "$parts" 2>"$tar" && tar -xf - -C "$parts" 2>"$tar" || stop $UNWRITABLE "$(words "$tar")"
[ -e "$parts/whole" ] || stop $UNTOLD "the job came only in part"
mv -f "$parts/script" "$JOB/script" || stop $UNWRITABLE "cannot write $JOB/script"
if [ -d "$parts/inputs" ]; then
    (cd "$parts/inputs" && find . -type f) >"$parts/list"
    while read -r name; do
        mkdir -p "$WORK/${name%/*}" && mv -f "$parts/inputs/$name" "$WORK/$name" ||
            stop $UNWRITABLE "cannot write $WORK/$name"
    done <"$parts/list"
fi
rm -rf "$parts" "$tar"

# an earlier try of the same task must not write any more
after=
for old in $OLDER; do
    [ ! -d "$WORK/jobs/$old" ] || : >"$WORK/jobs/$old/withdrawn"
    timeout 45 scancel --me --name="$old" 2>/dev/null
    known=$(timeout 45 squeue --me --noheader --name="$old" --format=%i 2>"$JOB/squeue.err") ||
        stop $UNTOLD "squeue: $(words "$JOB/squeue.err")"
    for one in $known; do after=$after:$one; done
done

ids= count=0 listed=
if [ -s "$JOB/id" ]; then
    while read -r one; do ids="$ids $one" count=$((count + 1)); done <"$JOB/id"
fi
keep() {
    ids="$ids $1" count=$((count + 1))
    printf '%s\\n' $ids >"$JOB/id.new" && mv -f "$JOB/id.new" "$JOB/id"
}
has() { case " $ids " in *" $1 "*) return 0 ;; esac; return 1; }

if [ "$count" -lt "$LINKS" ] && [ -z "$new" ]; then
    listed=$(named "$KEY") || stop $UNTOLD "squeue: $(words "$JOB/squeue.err")"
    known=$(printf '%s\\n' "$listed" | cut -d '|' -f 1 | grep -x '[0-9][0-9]*' | sort -n)
    if [ -z "$known" ] && [ "$count" -eq 0 ]; then
        # Slurm forgets jobs that ended; where it keeps accounts they are there
        known=$(timeout 45 sacct --noheader --allocations --parsable2 --name="$KEY" --starttime=now-7days \\
            --format=JobID 2>/dev/null | grep -x '[0-9][0-9]*' | sort -n)
    fi
    while [ "$count" -lt "$LINKS" ]; do
        # a job that started left its number
        if [ -s "$JOB/claim.$((count + 1))/id" ]; then
            one=$(cat "$JOB/claim.$((count + 1))/id")
        else
            one=$(for one in $known; do has "$one" || { echo "$one"; break; }; done)
        fi
        [ -n "$one" ] || break
        keep "$one"
    done
fi

give_up() {
    # part of a chain is no job
    if [ "$BEFORE" -eq 0 ] && [ "$count" -gt 0 ]; then
        : >"$JOB/withdrawn"
        timeout 45 scancel --me --name="$KEY" 2>/dev/null
    fi
    stop $REFUSED "$1"
}

unsure=
printf '%s\\n' "$LINKS" >"$JOB/links.new" && mv -f "$JOB/links.new" "$JOB/links" ||
    stop $UNWRITABLE "cannot write in $JOB"
while [ "$count" -lt "$LINKS" ]; do
    link=$((count + 1))
    if [ -e "$JOB/tried.$link" ]; then
        # what sbatch gave up may still be on its way to the controller
        age=$(($(date +%s) - $(stat -c %Y "$JOB/tried.$link")))
        [ "$age" -ge "$SETTLE" ] || [ "$age" -lt 0 ] || stop $UNTOLD "waiting to see whether Slurm took it"
        unsure=yes
    fi
    : >"$JOB/tried.$link" || stop $UNWRITABLE "cannot write in $JOB"
    eval "time=\\$TIME_$link"
    set -- --parsable --time="$time" --kill-on-invalid-dep=yes
    if [ "$link" -gt 1 ]; then
        last=${ids##* }
        # what ended long ago can no longer be waited for
        case $(printf '%s\\n' "$listed" | grep "^$last|" | cut -d '|' -f 2) in
            BF | CA | CD | DL | F | NF | OOM | PR | TO) ;;
            '') [ "$BEFORE" -gt 0 ] || set -- "$@" --dependency="afternotok:$last" ;;
            *) set -- "$@" --dependency="afternotok:$last" ;;
        esac
    elif [ -n "$after" ]; then
        set -- "$@" --dependency="afterany$after"
    fi
    [ ! -e "$JOB/withdrawn" ] || stop $WITHDRAWN withdrawn
    holds || stop $UNTOLD "another attempt to submit it is under way"
    one=$(cd "$JOB" && timeout 90 sbatch "$@" "$JOB/script" "$link" </dev/null 2>sbatch.err)
    code=$?
    one=$(printf '%s\\n' "$one" | sed -n 's/^\\([0-9][0-9]*\\)\\(;.*\\)*$/\\1/p' | tail -n 1)
    if [ "$code" -eq 0 ] && [ -n "$one" ]; then
        keep "$one"
        rm -f "$JOB/tried.$link"
        continue
    fi
    said=$(words "$JOB/sbatch.err")
    if [ "$code" -eq 0 ] || [ "$code" -eq 124 ] || { [ "$code" -gt 128 ] && [ "$code" -lt 255 ]; }; then
        stop $UNTOLD "sbatch gave no number: ${said:-exit code $code}"
    elif printf '%s' "$said" | grep -E -q "$PASSING"; then
        printf '%s' "$said" | grep -q 'Unable to contact' && rm -f "$JOB/tried.$link"
        stop $UNTOLD "sbatch: $said"
    fi
    rm -f "$JOB/tried.$link"
    give_up "${said:-sbatch failed with exit code $code}"
done

if [ ! -s "$JOB/rid" ]; then
    set -- $ids
    printf '%s\\n' "$1" >"$JOB/rid.$mine"
    ln "$JOB/rid.$mine" "$JOB/rid" 2>/dev/null
    rm -f "$JOB/rid.$mine"
fi
if [ ! -s "$JOB/submitted" ] && listed=$(named "$KEY"); then
    set -- $ids
    printf '%s\\n' "$listed" | sed -n "s/^$1|.*|//p" >"$JOB/submitted.new" &&
        mv -f "$JOB/submitted.new" "$JOB/submitted"
    if [ -n "$unsure" ]; then
        for one in $(printf '%s\\n' "$listed" | grep '|PD|' | cut -d '|' -f 1); do
            has "$one" || timeout 45 scancel "$one"
        done
    fi
fi
[ ! -e "$JOB/withdrawn" ] || { timeout 45 scancel --me --name="$KEY"; stop $WITHDRAWN withdrawn; }
stop 0 "ids$ids" "rid $(cat "$JOB/rid" 2>/dev/null)" "submitted $(cat "$JOB/submitted" 2>/dev/null)"
"""
)

CANCEL = (
    LOCK
    + """\
mkdir -p "$JOB" || stop $UNWRITABLE "cannot write $JOB"
# whoever is about to submit it sees this, and so does the job itself when it starts
: >"$JOB/withdrawn" || stop $UNWRITABLE "cannot write $JOB"
lock || stop $UNTOLD "it is being submitted just now"

alive() { timeout 30 squeue --me --noheader --name="$KEY" --format='%i|%t' 2>"$JOB/squeue.err"; }

before=$(alive) || stop $UNTOLD "squeue: $(words "$JOB/squeue.err")"
if [ -n "$before" ]; then
    # shellcheck disable=SC2086
    timeout 30 scancel --me --name="$KEY" 2>"$JOB/scancel.err" || timeout 30 scancel $IDS 2>>"$JOB/scancel.err"
fi
left=$before rounds=0
while [ -n "$left" ] && [ "$rounds" -lt "$WAIT" ]; do
    sleep 1
    rounds=$((rounds + 1))
    left=$(alive) || stop $UNTOLD "squeue: $(words "$JOB/squeue.err")"
done
[ -z "$left" ] || [ "$WAIT" -eq 0 ] || stop $UNTOLD "Slurm was told to cancel it, and it has not ended in $rounds s"
began=no
for claim in "$JOB"/claim.*; do [ ! -d "$claim" ] || began=yes; done
stop 0 "was ${before:+there}" "began $began" "outcome $(head -n 1 "$JOB/outcome" 2>/dev/null)" \\
    "said $(sed -n 2p "$JOB/outcome" 2>/dev/null)"
"""
)

LOOK = """\
LC_ALL=C
export LC_ALL
JOB=$WORK/jobs/$KEY
if queue=$(timeout 45 squeue --me --noheader --states=all --name="$KEY" --format="$FORMAT" 2>/dev/null); then
    echo 'queue '
    printf '%s\\n' "$queue" | sed 's/^/queue /'
fi
if [ -n "$IDS" ] && accounts=$(timeout 45 sacct --parsable2 --jobs="$IDS" --format="$FIELDS" 2>/dev/null); then
    echo 'accounts '
    printf '%s\\n' "$accounts" | sed 's/^/accounts /'
fi
sed 's/^/outcome /' "$JOB/outcome" 2>/dev/null
echo output
[ "$MOST" -eq 0 ] || tail -c "$MOST" "$JOB/output" 2>/dev/null
exit 0
"""
