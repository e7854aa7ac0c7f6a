"""Students against the last stage's Grad-CAM of their own classifier, on synthetic sets; resumes after a kill.

    python benchmarks/accuracy_synthetic.py --work FOLDER [--sets "brushed;cast"] [--at-once 1]
                                            [--out docs/results/accuracy-synthetic.json]

Each set is drawn, a classifier trained on its image labels, a student distilled, all with default options; the
masks of the test side only measure. FOLDER keeps data and runs; what is there already is not done again.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from accuracy_ksdd import ltcam  # beside this script
from common import parser_of, write_result
from rich.console import Console
from rich.table import Table

from ltcam.runs.folder import package_versions

SETS = {
    "brushed": ("brushed", "256x352", 160),
    "cast": ("cast", "256x352", 160),
    "fabric": ("fabric", "256x352", 160),
    "ceramic": ("ceramic", "256x352", 160),
    "all four": ("brushed,cast,fabric,ceramic", "256x352", 75),
    "all four, large": ("brushed,cast,fabric,ceramic", "512x704", 75),
    "all four, small": ("brushed,cast,fabric,ceramic", "208x208", 75),
}
"""Name to surfaces, size of the images, images per surface."""

BAR = 2.0


def made(file: Path, *words: object) -> Path:
    """The folder of a file that a command makes, which runs unless the file is there already."""
    if not file.is_file():
        ltcam(*words)
    return file.parent


def measure(name: str, work: Path) -> dict[str, Any]:
    """One set: IoU of the student, of the run's own map and of the last stage's Grad-CAM."""
    surfaces, size, images = SETS[name]
    folder = work / name.replace(", ", "-").replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    drawing = ("--surfaces", surfaces, "--image-size", size, "--images", images)
    data = made(folder / "data/manifest.csv", "data", "synth", folder / "data", *drawing)
    run = made(folder / "run/run.json", "train", data, "--out", folder / "run", "--resume")
    student = made(folder / "student/run.json", "distill", run, data, "--out", folder / "student", "--resume")
    compared = made(
        folder / "compared/compare.json", "compare", run, data, "--out", folder / "compared", "--resume"
    )
    rows = json.loads((compared / "compare.json").read_text(encoding="utf-8"))["rows"]
    last = next(row for row in rows if (row["method"], row["stages"]) == ("Grad-CAM", "last"))
    found = {"grad_cam_last": {metric: last[metric] for metric in ("iou", "precision", "recall")}}
    for kind, of in (("cam", run), ("student", student)):
        metrics = made(
            folder / f"{kind}-metrics/metrics.json",
            *("evaluate", of, data, "--out", folder / f"{kind}-metrics", "--split", "test"),
        )
        values = json.loads((metrics / "metrics.json").read_text(encoding="utf-8"))
        found[kind] = {metric: values["pixel"][metric] for metric in ("iou", "precision", "recall")}
        found[kind] |= {
            "image_ap": values["image"]["ap"],
            "iou_interval": values["pixel"]["intervals"]["iou"],
        }
    ratio = found["student"]["iou"] / found["grad_cam_last"]["iou"]
    return {"set": name, "ratio": ratio, "bar": BAR, "holds": ratio >= BAR, **found}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", help="names, separated by semicolons; default: all")
    parser.add_argument("--at-once", type=int, default=1, help="sets worked on at a time")
    parser.add_argument("--out", type=Path, default=Path("docs/results/accuracy-synthetic.json"))
    options = parser.parse_args()
    names = options.sets.split(";") if options.sets else list(SETS)
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(options.at_once) as pool:
        for row in pool.map(lambda name: measure(name, options.work), names):
            rows.append(row)
            write_result(options.out, {"versions": package_versions(), "rows": rows})
    table = Table("set", "Grad-CAM, last stage", "run's own map", "student", "student : Grad-CAM")
    for row in rows:
        numbers = [row[kind]["iou"] for kind in ("grad_cam_last", "cam", "student")]
        table.add_row(row["set"], *(f"{number:.3f}" for number in numbers), f"{row['ratio']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
