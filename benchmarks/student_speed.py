"""A student's forward pass against its classifier's LTGrad-CAM, side by side in one process.

    python benchmarks/student_speed.py STUDENT [STUDENT ...] [--times 8] [--threads 2]
                                       [--out docs/results/student-speed.json]

STUDENT is a run folder of `ltcam distill`. Its trunk and head are a classifier's, so one folder gives both sides: the
student's map, and LTGrad-CAM (50 %, all stages) of the same network. Images of the run's size, one and four at once;
sides run in turn and the best of several counts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import parser_of, write_result
from rich.console import Console
from rich.table import Table

from ltcam.cam import CAM, LTGradCAM
from ltcam.models.student import STUDENT
from ltcam.runs.inspector import Inspector

Side = Callable[[], object]
Seconds = tuple[float, float]
"""On the clock, and of the processor."""


def best_of(sides: tuple[Side, Side], times: int) -> list[Seconds]:
    best = [(float("inf"), float("inf"))] * len(sides)
    for _ in range(times):
        for index, side in enumerate(sides):
            clock, processor = time.perf_counter(), time.process_time()
            side()
            took = (time.perf_counter() - clock, time.process_time() - processor)
            best[index] = (min(best[index][0], took[0]), min(best[index][1], took[1]))
    return best


def rows_of(folder: Path, times: int) -> list[dict[str, object]]:
    inspector = Inspector.load(folder, device="cpu")
    run = inspector.run
    rows: list[dict[str, object]] = []
    for count in (1, 4):
        images = torch.randn(count, 3, *run.image_size, generator=torch.Generator().manual_seed(0))
        sides: tuple[Side, Side] = (
            lambda images=images: CAM(STUDENT)(inspector.network.classifier, images, 1),  # type: ignore[misc]
            lambda images=images: LTGradCAM(50, layers=run.stages)(inspector.network.classifier, images, 1),  # type: ignore[misc]
        )
        ours, theirs = best_of(sides, times)
        rows.append(
            {
                "what": f"{run.backbone}, {count} x 3 x {run.image_size[0]} x {run.image_size[1]}: student against "
                "classifier + LTGrad-CAM",
                "ratio": round(theirs[0] / ours[0], 3),
                "cpu_ratio": round(theirs[1] / ours[1], 3),
                "bar": ">= 1.7 faster",
                "holds": theirs[0] / ours[0] >= 1.7,
                "ours_s": round(ours[0], 4),
                "theirs_s": round(theirs[0], 4),
            }
        )
    return rows


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("students", type=Path, nargs="+")
    parser.add_argument("--times", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/student-speed.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [row for folder in options.students for row in rows_of(folder, options.times)]
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "capability": torch.backends.cpu.get_cpu_capability(),
    }
    contents = {"machine": machine, "versions": {"torch": torch.__version__}, "rows": rows}
    write_result(options.out, contents)
    table = Table("what", "ratio", "cpu_ratio", "bar", "holds")
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("what", "ratio", "cpu_ratio", "bar", "holds")))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
