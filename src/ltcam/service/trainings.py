"""Trainings started from the studio: one at a time, each in a process of its own that outlives the service.

    STATE/trainings/ID/job.json        what was asked for
    STATE/trainings/ID/lock            held by the process that works on it, from its first moment to its end
    STATE/trainings/ID/process.json    written by that process: its number
    STATE/trainings/ID/progress.json   written by that process: stage, done, total, seconds left
    STATE/trainings/ID/epochs/N/       written by that process: what it would mark in some images after epoch N
    STATE/trainings/ID/outcome.json    written by that process at its end: done, or why not
    STATE/trainings/ID/log.txt         all it said
    STATE/runs/NAME                    the run, once it is whole

A service that starts again reads these files and finds the training where it is, running or ended.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ltcam.service.ledger import instant
from ltcam_runtime.errors import DataError, SettingsError
from ltcam_runtime.folders import write_file

try:
    import fcntl
except ImportError:  # Windows, where a service that starts again finds no training running
    fcntl = None  # type: ignore[assignment]

State = Literal["running", "done", "cancelled", "interrupted", "failed"]

_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_LOG = 4000


@dataclass(frozen=True)
class Training:
    """A training as it stands.

    Attributes:
        id: 16 hexadecimal digits.
        dataset: name of the folder below the data root.
        run: name of the run that it makes.
        state: `interrupted` means that its process ended without saying how.
        stage: what it does now, in words; "" before it said so.
        done: of `total`.
        total: 0 while unknown.
        left: time left in words, or "".
        message: why it failed, or the end of what it said.
        epochs: how many epochs there are pictures of.
    """

    id: str
    dataset: str
    run: str
    state: State
    stage: str = ""
    done: int = 0
    total: int = 0
    left: str = ""
    message: str = ""
    epochs: int = 0


Command = Callable[[Path, Path, Path, bool], Sequence[str]]
"""(data, run folder to make, training's folder, resume) to the words of a command."""


def worker_command(data: Path, run: Path, folder: Path, resume: bool) -> list[str]:
    """The command that trains: this Python with `ltcam.service.training_worker`."""
    words = [sys.executable, "-m", "ltcam.service.training_worker", str(data), str(run), str(folder)]
    return [*words, "--resume"] if resume else words


class Trainings:
    """The trainings of a service."""

    def __init__(self, state: Path, data_root: Path | None, command: Command = worker_command) -> None:
        """Trainings below a state folder.

        Args:
            state: the service's folder.
            data_root: folder whose sub-folders may be trained on; None allows none.
            command: makes the words of the process.
        """
        self._folder, self.runs = state / "trainings", state / "runs"
        self._data_root, self._command = data_root, command
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def datasets(self) -> list[str]:
        """Names of the folders that may be trained on."""
        if self._data_root is None:
            return []
        return sorted(
            entry.name
            for entry in self._data_root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )

    def dataset(self, name: str) -> Path:
        """The folder of a data set. Only names that `datasets` gives; never a path.

        Raises:
            DataError: there is none of this name.
        """
        if self._data_root is None or name not in self.datasets():
            raise DataError(f"there is no folder of images called {name!r}")
        return self._data_root / name

    def run(self, name: str) -> Path:
        """The folder of a run that was trained here.

        Raises:
            DataError: there is none of this name.
        """
        if name not in {training.run for training in self.all() if training.state == "done"}:
            raise DataError(f"there is no run called {name!r}")
        return self.runs / name

    def all(self) -> list[Training]:
        """All trainings, the latest first."""
        if not self._folder.is_dir():
            return []
        jobs = [(job["time"], id_) for id_ in self._ids() if (job := self._job(id_)) is not None]
        return [self.get(id_) for _, id_ in sorted(jobs, reverse=True)]

    def _ids(self) -> list[str]:
        return [entry.name for entry in self._folder.iterdir()]

    def get(self, id: str) -> Training:  # noqa: A002
        """One training as it stands.

        Raises:
            DataError: there is none of this id.
        """
        job = self._job(id)
        if job is None:
            raise DataError("there is no training of this id")
        folder = self._folder / id
        known = Training(id, job["dataset"], job["run"], "running", epochs=len(self.epochs(id)))
        progress = _read_json(folder / "progress.json")
        if progress is not None:
            known = replace(known, **{name: progress[name] for name in ("stage", "done", "total", "left")})
        if self._alive(id):
            return known
        outcome = _read_json(folder / "outcome.json")
        if outcome is not None:
            return replace(known, state=outcome["state"], message=outcome["message"], left="")
        return replace(known, state="interrupted", message=_end_of(folder / "log.txt"), left="")

    def epochs(self, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """What a training would mark after each epoch, as its process wrote it, the first epoch first.

        Raises:
            DataError: there is none of this id.
        """
        if self._job(id) is None:
            raise DataError("there is no training of this id")
        found = [_read_json(file) for file in (self._folder / id / "epochs").glob("*/about.json")]
        return sorted((each for each in found if each is not None), key=lambda each: int(each["epoch"]))

    def picture(self, id: str, epoch: int, number: int) -> bytes:  # noqa: A002
        """A picture of an epoch, as JPEG.

        Args:
            id: of the training.
            epoch: counted from 1.
            number: of the picture, counted from 0.

        Raises:
            DataError: there is none.
        """
        try:
            if self._job(id) is None:
                raise FileNotFoundError
            return (self._folder / id / "epochs" / str(epoch - 1) / f"{number}.jpg").read_bytes()
        except OSError:
            raise DataError("there is no such picture of a training") from None

    def start(self, dataset: str) -> Training:
        """Start a training on a folder.

        Raises:
            DataError: there is no such folder.
            SettingsError: another training is running.
        """
        data = self.dataset(dataset)
        with self._lock:
            self._refuse_second()
            id_ = secrets.token_hex(8)
            run = f"{re.sub(r'[^A-Za-z0-9._-]', '_', dataset)}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{id_[:4]}"
            (self._folder / id_).mkdir(parents=True)
            self.runs.mkdir(exist_ok=True)
            job = {"time": instant(datetime.now(UTC)), "dataset": dataset, "run": run}
            self._launch(id_, job, data, resume=False)
        return self.get(id_)

    def resume(self, id: str) -> Training:  # noqa: A002
        """Go on with a training that was cancelled, interrupted or failed.

        Raises:
            DataError: no such training or data.
            SettingsError: it is running or done, or another is running.
        """
        with self._lock:
            self._refuse_second()
            if self.get(id).state == "done":
                raise SettingsError("this training is done")
            job = self._job(id)
            assert job is not None  # noqa: S101  # `get` found it
            for name in ("outcome.json", "process.json"):  # of the process before
                (self._folder / id / name).unlink(missing_ok=True)
            self._launch(id, job, self.dataset(job["dataset"]), resume=True)
        return self.get(id)

    def cancel(self, id: str, patience: float = 20.0) -> Training:  # noqa: A002
        """Stop a training; its checkpoints stay, so that it can be resumed.

        Raises:
            DataError: there is none of this id.
            SettingsError: its process runs and has not said yet which one it is.
        """
        if self._job(id) is None:
            raise DataError("there is no training of this id")
        until = time.monotonic() + patience
        pid = self._pid(id, until)
        if pid is not None and self._alive(id):
            _signal(pid, signal.SIGINT)
            while self._alive(id) and time.monotonic() < until:
                time.sleep(0.05)
            if self._alive(id):
                _signal(pid, signal.SIGKILL)
                while self._alive(id):
                    time.sleep(0.02)
        outcome = self._folder / id / "outcome.json"
        if not outcome.exists():
            write_file(outcome, json.dumps({"state": "cancelled", "message": ""}))
        return self.get(id)

    def _refuse_second(self) -> None:
        running = [training for training in self.all() if training.state == "running"]
        if running:
            raise SettingsError(f"a training on {running[0].dataset} is running; wait for it or cancel it")

    def _launch(self, id_: str, job: dict[str, Any], data: Path, *, resume: bool) -> None:
        folder = self._folder / id_
        write_file(folder / "job.json", json.dumps(job))
        words = self._command(data, self.runs / job["run"], folder, resume)
        # The process inherits the lock with the open file: there is no moment at which it runs without, even if we end.
        with (folder / "log.txt").open("ab") as log, (folder / "lock").open("ab") as lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._children[id_] = subprocess.Popen(  # noqa: S603  # our own program; names come from our own listing
                list(words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                pass_fds=() if fcntl is None else [lock.fileno()],
            )  # fmt: skip

    def _job(self, id_: str) -> dict[str, Any] | None:
        return _read_json(self._folder / id_ / "job.json") if _ID.fullmatch(id_) else None

    def _pid(self, id_: str, until: float) -> int | None:
        """Of the process; None where it has ended. One that was only just started is waited for.

        Raises:
            SettingsError: it has not said it when the time is up.
        """
        if id_ in self._children:
            return self._children[id_].pid
        while (process := _read_json(self._folder / id_ / "process.json")) is None and self._alive(id_):
            if time.monotonic() > until:
                raise SettingsError("the training is only just beginning; cancel it a little later")
            time.sleep(0.02)
        return None if process is None else int(process["pid"])

    def _alive(self, id_: str) -> bool:
        child = self._children.get(id_)
        # Asked always: of one that has ended nothing shall be left.
        running = child is not None and child.poll() is None
        return running if fcntl is None else _is_held(self._folder / id_ / "lock")


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several may ask at once
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself in between
        os.killpg(group, number)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values


def _end_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")[-_LONGEST_LOG:].strip()
    except OSError:
        return ""
