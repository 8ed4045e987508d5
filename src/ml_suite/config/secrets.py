"""Find what looks like a secret in a file that is shared and versioned."""

from __future__ import annotations

import re

_VALUES = re.compile(
    r"\bA(?:KIA|SIA)[0-9A-Z]{16}\b"
    r"|\bgh[oprsu]_[A-Za-z0-9]{20,}"
    r"|\bgithub_pat_\w{20,}"
    r"|\bglpat-[\w-]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}"
    r"|\bxox[abprs]-[\w-]{10,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_KEY = re.compile(
    r"(?:.*[_.\-])?(?:password|passwd|passphrase|secrets?|token|credentials?|api[_\-]?key|access[_\-]key(?:[_\-]id)?"
    r"|secret[_\-](?:access[_\-])?key|private[_\-]key)",
    re.IGNORECASE,
)
_WRITTEN = re.compile(
    rf"(?<![\w.\-])['\"]?{_KEY.pattern}['\"]?\s*[:=]\s+([^\s,}}#].*?)(?=\s*(?:[,}}]|\s#|$))", re.IGNORECASE
)

HINT = "keep secrets in connections.json (mode 0600) in ML_SUITE_HOME, which `ml-suite services up` writes"


def spans(line: str) -> list[tuple[int, int]]:
    """Start and end, from 0, of everything in LINE that looks like a key, a token or a password in a URL."""
    return [m.span() for m in _VALUES.finditer(line)]


def is_secret_key(key: str) -> bool:
    """Tell whether a key names a secret.

    >>> is_secret_key("s3.secret_access_key"), is_secret_key("model.num_tokens")
    (True, False)
    """
    return _KEY.fullmatch(key) is not None


def mask(line: str) -> str:
    """LINE with stars for its secrets, of the same length so that columns stay.

    >>> mask("x: {password: hunter2, limit: 3}")
    'x: {password: *******, limit: 3}'
    """
    for start, end in [*spans(line), *(m.span(1) for m in _WRITTEN.finditer(line))]:
        line = line[:start] + "*" * (end - start) + line[end:]
    return line
