"""The process of a training that the studio started: `python -m ltcam.service.training_worker DATA RUN FOLDER`.

It writes its number into FOLDER/process.json, how far it is into FOLDER/progress.json, what it would mark after each
epoch into FOLDER/epochs, and how it ended into FOLDER/outcome.json, each whole or as it was.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from ltcam.privacy import keep_private
from ltcam.training.listener import Marked
from ltcam_runtime.encoding import encoded
from ltcam_runtime.errors import LtcamError
from ltcam_runtime.folders import write_file

_EVERY = 0.5  # seconds between two words about the same stage


@dataclass
class Progress:
    """Writes a training's progress for the studio.

    Attributes:
        file: progress.json.
    """

    file: Path
    _stage: str = ""
    _begun: float = 0.0
    _told: float = field(default=0.0)

    def begin(self, stage: str) -> None:
        """Another stage begins, of which nothing is known yet."""
        self._stage, self._begun, self._told = stage, time.monotonic(), 0.0
        self(0, 0)

    def __call__(self, done: int, total: int) -> None:
        """So many of so many; the time left is that of what is left at the pace so far."""
        now = time.monotonic()
        if now - self._told < _EVERY and done < total:
            return
        self._told = now
        left = (now - self._begun) / done * (total - done) if done and done < total else 0.0
        words = f"{int(left) // 60}:{int(left) % 60:02d}" if left else ""
        write_file(self.file, json.dumps({"stage": self._stage, "done": done, "total": total, "left": words}))


@dataclass
class Epochs:
    """Keeps for the studio what the network would mark after each epoch.

    Attributes:
        folder: epochs/.
    """

    folder: Path
    _numbers: dict[str, float] = field(default_factory=dict)

    def measured(self, entry: dict[str, float]) -> None:
        """The numbers of the epoch whose pictures come next."""
        self._numbers = entry

    def seen(self, epoch: int, shown: Sequence[Marked]) -> None:
        """Pictures first; the file that names them makes them appear."""
        folder = self.folder / str(epoch)
        folder.mkdir(parents=True, exist_ok=True)
        for number, each in enumerate(shown):
            content = encoded(".jpg", each.picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
            write_file(folder / f"{number}.jpg", content)
        ap = self._numbers.get("val_ap", math.nan)
        about = {
            "epoch": epoch + 1,
            "ap": ap if math.isfinite(ap) else None,
            "pictures": [
                {"image": each.image, "label": each.label, "score": each.score, "held_back": each.held_back}
                for each in shown
            ],
        }
        write_file(folder / "about.json", json.dumps(about))


def main() -> int:
    """Train, and say how it ended."""
    parser = argparse.ArgumentParser()
    for name in ("data", "run", "folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--settings", default="{}", help="fields of TrainingSettings, as JSON")
    given = parser.parse_args()
    # A service that a script starts in the background ignores SIGINT, and so would whatever it starts; it is how we are
    # cancelled.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcome = {"state": "failed", "message": ""}
    keep_private()
    try:
        write_file(given.folder / "process.json", json.dumps({"pid": os.getpid()}))
        _train(given)
        outcome["state"] = "done"
    except KeyboardInterrupt:
        outcome["state"] = "cancelled"
    except LtcamError as error:
        outcome["message"] = str(error)
    except Exception as error:
        outcome["message"] = (
            f"unexpected {type(error).__name__}: {error} (this is a fault in ltcam; see log.txt)"
        )
        raise
    finally:
        write_file(given.folder / "outcome.json", json.dumps(outcome))
    return 0 if outcome["state"] == "done" else 2


def _train(given: argparse.Namespace) -> None:
    from ltcam.jobs.execution import Execution  # noqa: PLC0415
    from ltcam.jobs.training import train  # noqa: PLC0415  # torch is slow to import
    from ltcam.training.listener import Listener  # noqa: PLC0415
    from ltcam.training.settings import TrainingSettings  # noqa: PLC0415

    progress = Progress(given.folder / "progress.json")
    epochs = Epochs(given.folder / "epochs")

    train(
        given.data,
        given.run,
        TrainingSettings(**json.loads(given.settings)),
        Execution(
            resume=given.resume,
            listener=Listener(
                say=_print,
                warn=_print,
                planned=lambda plan: _print("\n".join(plan.concerns)),
                begun=progress.begin,
                progress=progress,
                epoch=epochs.measured,
                pictures=epochs.seen,
            ),
        ),
    )


def _print(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
