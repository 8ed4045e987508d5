"""Colours of all figures, on a light and on a dark ground."""

from __future__ import annotations

from ml_suite.report.figure import Role

LIGHT: dict[Role, str] = {
    "step1": "#8795a3",
    "step2": "#0072b2",
    "winner": "#d55e00",
    "control": "#009e73",
    "pruned": "#c5ced6",
    "pilot": "#8a63a8",
    "incumbent": "#e69f00",
    "reference": "#6b7680",
    "front": "#1f2933",
    "quiet": "#d9dee4",
}
"""After Okabe and Ito: told apart by every kind of colour vision, and in grey by their marks."""
DARK: dict[Role, str] = {
    "step1": "#8b98a6",
    "step2": "#56b4e9",
    "winner": "#f58345",
    "control": "#2bc295",
    "pruned": "#4d5a67",
    "pilot": "#bd9ad6",
    "incumbent": "#f0b53a",
    "reference": "#98a4af",
    "front": "#e6ebf0",
    "quiet": "#39444f",
}
SCALE = (
    "#482878", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#fde725",
)  # fmt: skip
"""Viridis from dark to bright, without its darkest end, which a dark ground would hide."""


def bands(count: int) -> list[str]:
    """So many colours of the scale, evenly, dark first."""
    if count == 1:
        return [SCALE[0]]
    return [_between(i / (count - 1)) for i in range(count)]


def _between(share: float) -> str:
    place = share * (len(SCALE) - 1)
    i = min(int(place), len(SCALE) - 2)
    rest = place - i
    channels = [
        round(int(SCALE[i][c : c + 2], 16) * (1 - rest) + int(SCALE[i + 1][c : c + 2], 16) * rest)
        for c in (1, 3, 5)
    ]
    return "#" + "".join(f"{c:02x}" for c in channels)
