"""The page of a prediction: counts, scores, and every image with what was found, to be sorted and filtered.

One script of its own does that; the page's content security policy names it by its hash and allows no other. Pictures
are files beside the page, loaded as they come into view, so that 10,000 images stay fluent.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from string import Template

from ltcam_runtime.pages import base_style, resource
from ltcam_runtime.pages.histogram import score_histogram
from ltcam_runtime.phrases import printable
from ltcam_runtime.results import Verdict
from ltcam_runtime.settings import Trust

_COLUMNS = ("name", "verdict", "score", "kinds", "regions", "size", "output", "trust")
_SHOWN_FAILURES = 50
_NAMES: dict[Verdict, str] = {"defect": "defective", "unsure": "unsure", "ok": "OK"}
_TONES: dict[Verdict, str] = {"defect": "bad", "unsure": "warn", "ok": "good"}


@dataclass(frozen=True)
class ResultRecord:
    """What the page says of one image.

    Attributes:
        name: of the image.
        verdict: `ok`, `unsure` or `defect`.
        score: probability of being defective, 0 to 1.
        kinds: classes of its regions, most frequent first.
        regions: number of regions.
        largest: area of the largest region in the page's unit, 0 where there is none.
        output: name of its files, without folder and suffix.
        trust: how far its mask can be trusted; see `ltcam_runtime.results.Inspection`.
    """

    name: str
    verdict: Verdict
    score: float
    kinds: tuple[str, ...]
    regions: int
    largest: float
    output: str
    trust: Trust = ""


@dataclass(frozen=True)
class ResultsPage:
    """What the page says of all images.

    Attributes:
        title: heading.
        subtitle: one line below it.
        threshold: score from which an image is defective.
        records: the images.
        failures: (image, reason) of those that could not be inspected.
        saved: folders of pictures beside the page: any of overlays, masks, heatmaps.
        unit: of `ResultRecord.largest`.
    """

    title: str
    subtitle: str
    threshold: float
    records: Sequence[ResultRecord]
    failures: Sequence[tuple[str, str]] = ()
    saved: Sequence[str] = ()
    unit: str = "px"


def results_page(page: ResultsPage) -> str:
    """The page as HTML. Every name is escaped, and whatever is invisible in one is shown by its code."""
    script = resource("results.js")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    counts = Counter(record.verdict for record in page.records)
    page_text = Template(resource("results.html")).substitute(
        title=escape(page.title),
        subtitle=escape(page.subtitle),
        script=script,
        script_hash=f"sha256-{digest}",
        base_style=base_style(),
        style=resource("results.css"),
        cards=_cards(counts, len(page.records), len(page.failures)),
        histogram=_histogram(page),
        histogram_caption=f"Scores of all images. The dashed line is the verdict's threshold, {page.threshold:.2f}.",
        failures=_failures(page.failures),
        folders="".join(f", pictures in <code>{escape(folder)}/</code>" for folder in page.saved),
        data=_data(page, counts),
    )
    return printable(page_text)


def _data(page: ResultsPage, counts: Counter[Verdict]) -> str:
    """The records for the script. Without a `<` nothing in it can end the element it stands in."""
    kinds = sorted({kind for record in page.records for kind in record.kinds})
    rows = [
        [
            printable(each.name),
            each.verdict,
            round(each.score, 6),
            [printable(kind) for kind in each.kinds],
            each.regions,
            each.largest,
            each.output,
            each.trust,
        ]
        for each in page.records
    ]
    content = {
        "columns": _COLUMNS,
        "images": rows,
        "counts": counts,
        "kinds": [printable(kind) for kind in kinds],
        "threshold": page.threshold,
        "saved": list(page.saved),
        "unit": page.unit,
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _cards(counts: Counter[Verdict], images: int, failed: int) -> str:
    items = [("images", images, "accent")]
    items += [(name, counts[verdict], _TONES[verdict]) for verdict, name in _NAMES.items()]
    items += [("failed", failed, "warn")] if failed else []
    return "".join(
        f'<div class="card {tone}"><div class="name">{name}</div><div class="value">{value}</div></div>'
        for name, value, tone in items
        if value or name != "unsure"
    )


def _histogram(page: ResultsPage) -> str:
    groups: dict[str, tuple[str, list[float]]] = {
        verdict: (_NAMES[verdict], [each.score for each in page.records if each.verdict == verdict])
        for verdict in ("ok", "unsure", "defect")
    }
    return score_histogram(groups, page.threshold)


def _failures(failures: Sequence[tuple[str, str]]) -> str:
    if not failures:
        return ""
    rows = "".join(
        f"<li><code>{escape(name)}</code>: {escape(reason)}</li>"
        for name, reason in failures[:_SHOWN_FAILURES]
    )
    more = len(failures) - _SHOWN_FAILURES
    rest = f"<p>and {more} more, listed in <code>predictions.csv</code></p>" if more > 0 else ""
    head = f"<strong>{len(failures)} could not be inspected</strong>"
    return f'<div class="note warn failed">{head}<ul>{rows}</ul>{rest}</div>'
