"""What runs at the host: POSIX sh with find, stat, sort, tar, sha256sum and readlink, of GNU or of busybox.

::

    datasets/NAME.zarr                      complete: its manifest lies beside it
    datasets/NAME.zarr.manifest.jsonl
    datasets/NAME.zarr.part/                on its way
    datasets/.NAME.zarr.transfer/lock       a link whose target is the token of the transfer: made in one step, with it
    datasets/.NAME.zarr.transfer/journal.*  what is proved, see `shards`; the ending is the content's
    datasets/.NAME.zarr.transfer/list.*     checksums of the portion that is being received
    datasets/.NAME.zarr.transfer/line.*     the journal's line that it will be worth

Each script says what became of it with the first word of its first line and ends with 0; another exit code is a bug or
a host that is out of order. Times of files are those of their arrival (``tar -m``): sites remove what looks old.
"""

from __future__ import annotations

from shlex import quote

STALE = 3600
"""Seconds without a sign of life after which a transfer of another machine is taken for dead."""

_START = """\
LC_ALL=C; export LC_ALL
folder={folder} name={name} content={content} token={token}
part=$name.part state=.$name.transfer
lock=$state/lock journal=$state/journal.{short}
list() {{ (cd "$1" && find . -type f -exec stat -c '%s %n' {{}} +) | sort; }}
sum() {{ sha256sum | cut -c 1-64; }}
held() {{ [ "$(readlink "$lock" 2>/dev/null)" = "$token" ]; }}
owned() {{ held || {{ echo lost; exit 0; }}; touch -c -h "$lock"; }}
room() {{ df -Pk . | awk 'NR == 2 {{ print $4 }}'; }}
broken() {{ printf 'broken %s\\n%s\\n' "$(room)" "$1"; exit 0; }}
try() {{ said=$("$@" 2>&1) || broken "$said"; }}
wrong() {{ awk -v want="$1" '/: OK$/ {{ ok++; next }} {{ bad++; print }} END {{ if (ok + bad != want) print "?" }}'; }}
"""

_ENTER = 'cd -- "$folder" || exit 41\n'

_BEGIN = """\
try mkdir -p -- "$folder"
cd -- "$folder" || exit 41
where=none files=
[ ! -d "$part" ] || where=part
if [ -d "$name" ]; then
    where=unknown
    [ "$(sum <"$name.manifest.jsonl" 2>/dev/null)" != "$content" ] || where=store
fi
case $where in
    part) files=$(list "$part") ;;
    store | unknown) files=$(list "$name") ;;
esac
holder=$(readlink "$lock" 2>/dev/null)
other=$holder
[ "${{other%.*}}" != "${{token%.*}}" ] || other=
if [ $where = store ] && [ {quick} = 1 ] && [ "$(printf '%s\\n' "$files" | sum)" = {digest} ]; then
    [ -n "$other" ] || rm -rf "$state" "$part"
    echo right
    exit 0
fi
if [ -n "$other" ]; then
    age=$(($(date +%s) - $(stat -c %Y "$lock")))
    [ "$age" -ge {stale} ] || {{ echo "locked $other $age"; exit 0; }}
fi
try mkdir -p "$state"
[ -z "$holder" ] || rm -f "$lock"
said=$(ln -s "$token" "$lock" 2>&1) || {{
    other=$(readlink "$lock") || broken "$said"
    echo "locked $other 0"
    exit 0
}}
[ {forget} = 0 ] || rm -f "$journal"
echo "free $(room)"
echo "where $where"
[ ! -f "$journal" ] || sed 's/^/J/' "$journal"
[ -z "$files" ] || printf '%s\\n' "$files" | sed 's/^/F/'
"""

# what has to be proved, and the journal's line for it, come last
_PROVE = """\
[ -f "$state/list.{id}" ] && [ -f "$state/line.{id}" ] || broken "the portion is not whole"
if [ -s "$state/list.{id}" ]; then
    count=$(wc -l <"$state/list.{id}")
    said=$(cd "$part" && sha256sum -c "../$state/list.{id}" 2>/dev/null | wrong "$count")
    [ -z "$said" ] || {{ echo "bad ${{note-}}"; printf '%s\\n' "$said"; exit 0; }}
    sync -f "$part" 2>/dev/null
    owned
    said=$( (cat "$state/line.{id}" >>"$journal") 2>&1) || broken "$said"
fi
rm -f "$state/list.{id}" "$state/line.{id}"
echo ok
"""

_RECEIVE = """\
owned
said=$(tar -x -m -o -f - 2>&1) || broken "$said"
owned
"""

# one line per input, each base64 of gzip: a shell reads lines from a pipe byte by byte, and addresses are long.
# Addresses are read from a pipe, are never an argument, and no message repeats them. Without -q the person's own
# ~/.curlrc could keep them somewhere.
_PULL = """\
owned
type printf | grep -q builtin || {{ echo "cannot this shell has no printf of its own"; exit 0; }}
command -v curl >/dev/null || {{ echo "cannot there is no curl"; exit 0; }}
plain() {{ printf '%s' "$1" | base64 -d | gunzip; }}
take() {{ IFS= read -r text || broken "the portion is not whole"; }}
take
said=$( (plain "$text" >"$state/list.{id}") 2>&1) || broken "$said"
take
said=$( (plain "$text" >"$state/line.{id}") 2>&1) || broken "$said"
take
(cd "$part" && plain "$text" | xargs -0 sh -c 'for f; do case $f in */) mkdir -p "$f" ;; *) : >"$f" ;; esac; done' make)
lanes=
while [ "${{#lanes}}" -lt {lanes} ]; do
    take
    lanes=x$lanes
    [ -n "$text" ] || continue
    (
        cd "$part" || exit
        plain "$text" | curl -q -sS --fail --globoff --connect-timeout 20 --retry 3 \
            --speed-limit 1000 --speed-time 60 -K - 2>"../$state/said.${{#lanes}}"
    ) &
done
wait
note=$(cat "$state"/said.* 2>/dev/null | sed 's#[a-z]*://[^ ]*#an address#g' | sort | uniq -c | sort -rn)
note=$(printf '%s\\n' "$note" | head -n 3 | tr '\\n' ' ')
rm -f "$state"/said.*
"""

_CHECK = """\
owned
dir=$part
[ ! -d "$name" ] || dir=$name
said=$(cd "$dir" && sha256sum -c 2>/dev/null | wrong {count})
[ -z "$said" ] || {{ echo bad; printf '%s\\n' "$said"; exit 0; }}
owned
said=$( (printf '%s\\n' {line} >>"$journal") 2>&1) || broken "$said"
echo ok
"""

_NOTE = """\
owned
said=$( (cat >"$state/new") 2>&1) || broken "$said"
owned
try mv -f "$state/new" "$journal"
echo ok
"""

_OPEN = """\
owned
if [ -d "$name" ]; then
    rm -rf "$part"
    try mv "$name" "$part"
    rm -f "$name.manifest.jsonl"
fi
try mkdir -p "$part"
said=$( (cat >"$state/extra") 2>&1) || broken "$said"
[ "$(wc -c <"$state/extra")" -eq {bytes} ] || {{ echo differs; exit 0; }}
(cd "$part" && xargs -0 rm -f --) <"$state/extra" || exit 42
rm -f "$state/extra"
echo ok
"""

_FINISH = """\
owned
said=$( (cat >"$state/manifest") 2>&1) || broken "$said"
[ "$(sum <"$state/manifest")" = "$content" ] || {{ echo differs; exit 0; }}
dir=$part
[ ! -d "$name" ] || dir=$name
{extra} || [ "$(list "$dir" | sum)" = {digest} ] || {{ echo differs; exit 0; }}
sync -f "$dir" 2>/dev/null
owned
try mv -f "$state/manifest" "$name.manifest.jsonl"
[ "$dir" = "$name" ] || try mv "$part" "$name"
rm -rf "$state"
echo ok
"""

_LEAVE = """\
! held || rm -f "$lock"
echo ok
"""


def script(body: str, folder: str, name: str, content: str, token: str, **values: str | int) -> str:
    """The text of one script.

    Parameters
    ----------
    body
        One of this module's.
    folder, name
        Folder of the datasets at the host, and NAME.zarr.
    content
        SHA-256 of the manifest.
    token
        MACHINE.RUN: who holds the lock.
    values
        What BODY needs beside; texts are quoted.
    """
    common = {"folder": folder, "name": name, "content": content, "token": token, "short": content[:12]}
    given = {key: quote(value) if isinstance(value, str) else value for key, value in values.items()}
    start = _START.format(**{key: quote(value) for key, value in common.items()})
    return start + ("" if body is BEGIN else _ENTER) + body.format(**given)


BEGIN, RECEIVE, PULL, CHECK, NOTE, OPEN, FINISH, LEAVE = (
    _BEGIN,
    _RECEIVE + _PROVE,
    _PULL + _PROVE,
    _CHECK,
    _NOTE,
    _OPEN,
    _FINISH,
    _LEAVE,
)
