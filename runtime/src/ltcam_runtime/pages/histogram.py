"""Scores as a histogram with the verdict's threshold, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_BINS = 20
_BOTTOM, _HEIGHT, _WIDTH, _LEFT = 106.0, 92.0, 460.0, 5.0


def score_histogram(groups: Mapping[str, tuple[str, Sequence[float]]], threshold: float) -> str:
    """Bars of scores from 0 to 1, stacked, one colour per group.

    Args:
        groups: words and scores by the style's name of the group: ok, unsure, defect.
        threshold: where the dashed line is.
    """
    counts = {name: [0] * _BINS for name in groups}
    for name, (_, scores) in groups.items():
        for score in scores:
            counts[name][min(int(score * _BINS), _BINS - 1)] += 1
    top = max(1, *(sum(each[number] for each in counts.values()) for number in range(_BINS)))
    slot, parts = _WIDTH / _BINS, []
    for number in range(_BINS):
        base = _BOTTOM
        for name, each in counts.items():
            height = _HEIGHT * each[number] / top
            if height:
                base -= height
                said = f"{number / _BINS:.2f} to {(number + 1) / _BINS:.2f}: {each[number]} {groups[name][0]}"
                parts.append(
                    f'<rect class="{escape(name)}" x="{_LEFT + number * slot + 1:.1f}" y="{base:.1f}" '
                    f'width="{slot - 2:.1f}" height="{height:.1f}"><title>{escape(said)}</title></rect>'
                )
    at = _LEFT + _WIDTH * threshold
    return (
        '<svg class="histogram" viewBox="0 0 470 126" role="img" aria-label="histogram of the scores">'
        f'{"".join(parts)}<line x1="0" x2="470" y1="106.5" y2="106.5"/>'
        f'<line class="threshold" x1="{at:.1f}" x2="{at:.1f}" y1="4" y2="106"/>'
        '<text x="5" y="121">0 (OK)</text><text x="465" y="121" text-anchor="end">1 (defect)</text></svg>'
    )
