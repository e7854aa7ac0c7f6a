"""How an exported file compares with its run: the page of `ltcam export --verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ltcam.reports.html import render

HEAD = (
    "Runtime",
    "Heatmap pixels within 1e-4",
    "Largest difference",
    "Mask IoU, lowest",
    "Mask IoU, mean",
    "Verdicts changed",
    "Largest change of a score",
    "ms per image",
    "Memory, MB",
)


def verify_page(verification: Mapping[str, Any]) -> str:
    """The page.

    Args:
        verification: as `ltcam.jobs.verifying.Verification.to_json` has it.
    """
    changed = [
        (engine["engine"], name) for engine in verification["engines"] for name in engine["verdict_changes"]
    ]
    return render(
        "verify_page.html.j2",
        verification=verification,
        head=HEAD,
        rows=[_row(engine) for engine in verification["engines"]],
        changed=changed,
    )


def _row(engine: Mapping[str, Any]) -> Sequence[str]:
    memory = engine["memory_mb"]
    return (
        engine["engine"],
        f"{engine['near']:.2%}",
        f"{engine['largest']:.1e}",
        f"{engine['mask_iou']:.4f}",
        f"{engine['mean_mask_iou']:.4f}",
        str(len(engine["verdict_changes"])),
        f"{engine['largest_score_change']:.1e}",
        f"{engine['milliseconds']:.1f}",
        "–" if memory is None else f"{memory:.0f}",
    )
