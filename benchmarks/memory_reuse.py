"""One training step with the allocator as it is, and with freed memory kept: each in a process of its own.

python benchmarks/memory_reuse.py [--backbone tf_efficientnet_lite0] [--out FILE.json]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from common import parser_of, write_result

STEP = """
import sys, time, torch
from ltcam.models.classifier import build_classifier
from ltcam.runs.memory import keep_freed_memory
if sys.argv[2] == "kept":
    keep_freed_memory()
model = build_classifier(sys.argv[1], 2).eval()
images = torch.zeros(4, 3, 640, 256).contiguous(memory_format=torch.channels_last)
times = []
for _ in range(4):
    started = time.perf_counter()
    model(images).sum().backward()
    times.append(time.perf_counter() - started)
print(min(times))
"""


def seconds(backbone: str, kind: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", STEP, backbone, kind]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pairs = [(seconds(options.backbone, "plain"), seconds(options.backbone, "kept")) for _ in range(2)]
    plain, kept = (min(pair[index] for pair in pairs) for index in (0, 1))
    result = {"backbone": options.backbone, "plain_s": plain, "kept_s": kept, "ratio": round(plain / kept, 3)}
    print(json.dumps(result, indent=2))
    if options.out:
        write_result(options.out, result)


if __name__ == "__main__":
    main()
