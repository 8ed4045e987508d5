"""The catalogue's naming convention for datasets.

::

    gridded        purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-vN[-more]
    trajectories   purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-STEP-vN[-more]
    tabular        purpose-content-source[-resolution]-YYYY-YYYY-vN[-more]
"""

from __future__ import annotations

import re

_START = r"[a-z0-9]+-[a-z0-9-]+-[a-z0-9]+"
_RESOLUTION = r"[0-9ron][a-z0-9]*"
_YEARS = r"(?P<first>\d{4})-(?P<last>\d{4})"
_STEP = r"\d+[hm]"
_VERSION = r"v\d+(?:-[a-z0-9-]+)?"

LAYOUTS = {
    "gridded": re.compile(f"{_START}-{_RESOLUTION}-{_YEARS}-{_STEP}-{_VERSION}"),
    "trajectories": re.compile(f"{_START}-{_RESOLUTION}-{_YEARS}-{_STEP}-{_STEP}-{_VERSION}"),
    "tabular": re.compile(f"{_START}(?:-{_RESOLUTION})?-{_YEARS}-{_VERSION}"),
}


def problem(name: str) -> str | None:
    """Say what is wrong with a dataset's name, or None when it follows the convention.

    >>> problem("aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1")
    >>> problem("Whatever_Bad")
    "the dataset name 'Whatever_Bad' has 'W', '_', 'B'; only a-z, 0-9 and '-' are allowed"
    """
    if strange := sorted(set(re.findall(r"[^a-z0-9-]", name)), key=name.index):
        characters = ", ".join(repr(c) for c in strange)
        return f"the dataset name {name!r} has {characters}; only a-z, 0-9 and '-' are allowed"
    matches = [found for layout in LAYOUTS.values() if (found := layout.fullmatch(name))]
    if not matches:
        return (
            f"the dataset name {name!r} does not follow the naming convention "
            "purpose-content-source-resolution-YYYY-YYYY-FREQUENCY-vN, "
            "for example aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1"
        )
    if all(found["first"] > found["last"] for found in matches):
        return (
            f"the dataset name {name!r} ends ({matches[0]['last']}) before it starts ({matches[0]['first']})"
        )
    return None
