"""Where a training keeps its checkpoints until its run folder is whole, to be resumed from there."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ltcam.runs.run import RUN_FILE
from ltcam_runtime.errors import OutputError

_CHECKPOINT = "last.ckpt"  # as in ltcam.training.fit, which takes seconds to import


def work_folder(out: Path) -> Path:
    """Where checkpoints of a run are kept: hidden beside it, always under the same name."""
    target = out.resolve()
    digest = hashlib.sha256(os.fsencode(target)).hexdigest()[:8]
    return target.parent / f".{target.name[:60]}.{digest}.training"


@contextmanager
def claimed(
    out: Path, *, resume: bool | None, overwrite: bool, say: Callable[[str], None] = lambda _sentence: None
) -> Iterator[None]:
    """The right to train into a folder; checkpoints of a training that ends well are removed with it.

    Args:
        out: the run folder wanted.
        resume: whether a training found there is gone on with; None: it cannot be, whoever asks.
        overwrite: whether it is thrown away.
        say: told if there is none.

    Raises:
        OutputError: another process trains into it, or an unfinished training is kept for it.
    """
    with _only_one(out):
        check_unfinished(out, resume=resume, overwrite=overwrite, say=say)
        yield
        shutil.rmtree(work_folder(out), ignore_errors=True)


@contextmanager
def _only_one(out: Path) -> Iterator[None]:
    """Keep others from training into the same folder, from the first moment. The lock of a dead process is none.

    Raises:
        OutputError: another process trains into it.
    """
    file = work_folder(out).with_suffix(".lock")
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"{out}: another training writes there right now; wait until it has ended, or choose another folder"
        ) from None
    except OSError:  # nothing can be written there, which is said by those who write
        yield
        return
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is still held: whoever comes next makes a new one
        lock.release()


def check_unfinished(
    out: Path, *, resume: bool | None, overwrite: bool, say: Callable[[str], None] = lambda _sentence: None
) -> None:
    """An epoch of work is neither thrown away unasked nor said to be there when it is not.

    Raises:
        OutputError: there is an unfinished training, and no word of what to do with it.
    """
    found = resumable(out)
    if resume and not found and not (out / RUN_FILE).exists():
        say(f"{out}: there is no unfinished training to resume; starting at the first epoch")
    if not resume and not overwrite and found:
        raise OutputError(
            f"{out}: an unfinished training is kept for it; "
            + ("choose another folder" if resume is None else "continue it with `resume=True`")
            + ", or start anew with `overwrite=True`"
        )


def resumable(out: Path) -> bool:
    """Whether an unfinished training is kept for a run."""
    return _resumable(work_folder(out))


@contextmanager
def checkpoints(out: Path, *, resume: bool) -> Iterator[Path]:
    """The folder for checkpoints; gone afterwards, unless a stopped training can be resumed from it."""
    work = work_folder(out)
    if not (resume and _resumable(work)):
        shutil.rmtree(work, ignore_errors=True)
    try:
        yield work
    except BaseException:
        if not _resumable(work):
            shutil.rmtree(work, ignore_errors=True)
        raise


def _resumable(work: Path) -> bool:
    return any(work.glob(_CHECKPOINT)) or any(work.glob(f"*/{_CHECKPOINT}"))
