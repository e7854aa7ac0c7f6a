"""Put the results of `ltcam reproduce` into the documentation.

    ltcam reproduce synthetic --out OUT
    python docs/make_reproduction.py OUT [OUT ...] [--runs ksdd QUESTIONS]

Of each OUT, as far as they are there, to docs/results/KIND: compare.json, folds.json, tables.md; the answers to the
open questions as questions.csv, gains.csv, questions.md and effects.svg, those over folds as questions-folds.csv, .md;
the choice of delta as tune.csv, tune.md and delta.svg. To docs/images/reproduction: the figures of the synthetic set as
NAME.webp; of other data sets, whose licences are not ours, the curves alone, as delta-KIND.webp. Of QUESTIONS, the
results of `ltcam questions` for runs that differ in head or size: questions-runs.csv and .md.

Then the tables between the markers of docs/reproduction.md are made of the files under docs/results.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

from PIL import Image

from ltcam.experiments.compare.page import HEAD, method_rows
from ltcam.experiments.reproduce.page import fold_table, paper_blocks
from ltcam.experiments.reproduce.reproduction import Folds, Published
from ltcam.reports.metrics_table import markdown_table

DOCS = Path(__file__).parent
PAGE = DOCS / "reproduction.md"
RESULTS = DOCS / "results"
IMAGES = DOCS / "images" / "reproduction"
MOST_BYTES = 190_000

_TAKEN = {
    **{f"questions/{name}": name for name in ("questions.csv", "gains.csv", "questions.md", "effects.svg")},
    **{f"questions-folds/questions.{kind}": f"questions-folds.{kind}" for kind in ("csv", "md")},
    **{f"tune/{name}": name for name in ("tune.csv", "tune.md")},
    "figures/delta.svg": "delta.svg",
}

_MARKED = re.compile(r"(<!-- numbers: (\w+)/(\w+) -->\n).*?(<!-- end -->)", re.S)


def take(out: Path) -> None:
    """Copy what may be published of a reproduction."""
    found = json.loads((out / "reproduction.json").read_text(encoding="utf-8"))
    folder = RESULTS / found["kind"]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("compare.json", "folds.json"):
        if (out / name).is_file():
            shutil.copy(out / name, folder / name)
    shutil.copy(out / "report.md", folder / "tables.md")
    for source, target in _TAKEN.items():
        if (out / source).is_file():
            shutil.copy(out / source, folder / target)
    IMAGES.mkdir(parents=True, exist_ok=True)
    curves = out / "figures" / "delta.png"  # lines, no pictures
    if found["kind"] != "synthetic" and curves.is_file():
        shrink(curves, IMAGES / f"delta-{found['kind']}.webp")
    if found["kind"] == "synthetic":
        for picture in sorted((out / "figures").glob("*.png")):
            shrink(picture, IMAGES / f"{picture.stem}.webp")


def shrink(source: Path, target: Path) -> None:
    """A picture as WebP that is small enough for the repository."""
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    for quality in (85, 75, 65, 50):
        picture.save(target, quality=quality, method=6)
        if target.stat().st_size <= MOST_BYTES:
            return
    picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)).save(target, quality=65, method=6)


def filled(page: str) -> str:
    """The page with the tables between its markers made anew."""
    return _MARKED.sub(lambda found: f"{found[1]}\n{block(found[2], found[3])}\n\n{found[4]}", page)


def block(kind: str, what: str) -> str:
    """Table `paper`, `methods` or `folds` of a data set; or that there is none yet."""
    file = RESULTS / kind / ("folds.json" if what == "folds" else "compare.json")
    if not file.is_file():
        return "*Not measured yet.*"
    text = file.read_text(encoding="utf-8")
    if what == "folds":
        return markdown_table(*fold_table(Folds.model_validate_json(text)), words=2)
    found = Published.model_validate_json(text)
    if what == "paper":
        return "\n\n".join(paper_blocks(found))
    shown = HEAD[:8]
    return markdown_table(shown, [row[: len(shown)] for row in method_rows(found.rows)], words=2)


def main() -> None:
    """Take what is named, and fill the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="*", type=Path, help="folders of `ltcam reproduce`")
    parser.add_argument(
        "--runs", nargs=2, metavar=("KIND", "QUESTIONS"), help="of runs that differ in settings"
    )
    options = parser.parse_args()
    for out in options.out:
        take(out)
    if options.runs:
        kind, questions = options.runs
        for ending in ("csv", "md"):
            shutil.copy(Path(questions) / f"questions.{ending}", RESULTS / kind / f"questions-runs.{ending}")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
