"""Where work is kept until its results are whole, to be resumed from there; and that of trainings: checkpoints."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from ltcam.runs.holding import hold
from ltcam.runs.run import RUN_FILE
from ltcam_runtime.errors import OutputError
from ltcam_runtime.folders import check_output_folder, output_folder

_CHECKPOINT = "last.ckpt"  # as in ltcam.training.fit, which takes seconds to import


@dataclass(frozen=True)
class Place:
    """Where a training writes its run, and what becomes of what is there.

    Attributes:
        out: the run folder wanted.
        resume: whether a training found there is gone on with; None: it cannot be, whoever asks.
        overwrite: whether it, or a run that is there, is thrown away.
    """

    out: Path
    resume: bool | None = False
    overwrite: bool = False

    @property
    def work(self) -> Path:
        """Where the training's checkpoints are kept."""
        return work_folder(self.out, "training")

    def check(self) -> None:
        """Nothing is in the way.

        Raises:
            OutputError: there is an unfinished training, or something else, and no word of what to do with it.
        """
        check_unfinished(self)
        check_output_folder(self.out, marker=RUN_FILE, overwrite=self.overwrite)

    @contextmanager
    def taken(self, say: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
        """The run folder, which appears as a whole at the end, and one for checkpoints, which goes then.

        Args:
            say: told if there is no training to go on with.

        Raises:
            OutputError: another process trains into it, or something is in the way.
        """
        with _only_one(self):
            check_unfinished(self, say)
            with (
                kept_unless_done(self.work, _resumable),
                output_folder(self.out, marker=RUN_FILE, overwrite=self.overwrite) as folder,
            ):
                if not (self.resume and _resumable(self.work)):
                    shutil.rmtree(self.work, ignore_errors=True)
                yield folder, self.work


def work_folder(out: Path, kind: str) -> Path:
    """The hidden folder of unfinished work for results in `out`: beside it, always under the same name.

    Args:
        out: folder that the results are to be in.
        kind: of work, such as `tuning`; others have folders of their own.
    """
    target = out.resolve()
    digest = hashlib.sha256(os.fsencode(target)).hexdigest()[:8]
    return target.parent / f".{target.name[:60]}.{digest}.{kind}"


@contextmanager
def kept_unless_done(folder: Path, holds_work: Callable[[Path], bool]) -> Iterator[None]:
    """Remove a folder of unfinished work, unless the block is stopped while there is work in it.

    Put the block that writes the results inside, so that nothing is forgotten before they are whole.

    Args:
        folder: as of `work_folder`.
        holds_work: whether there is anything in it to go on with.

    Raises:
        KeyboardInterrupt: saying that finished work is kept, where it is.
    """
    try:
        yield
    except BaseException as stopped:
        # The disk is asked: whoever interrupts while a piece is being kept has kept it.
        if not holds_work(folder):
            shutil.rmtree(folder, ignore_errors=True)
        elif isinstance(stopped, KeyboardInterrupt):
            raise type(stopped)("what is finished is kept, continue with `resume=True`") from stopped
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Keep others from training into the same folder, from the first moment.

    Raises:
        OutputError: another process trains into it.
    """
    held: AbstractContextManager[object] = nullcontext()
    try:
        held = hold(place.work.with_suffix(".lock"))
    except BlockingIOError:
        raise OutputError(
            f"{place.out}: another training writes there right now; wait until it has ended, or choose another folder"
        ) from None
    except OSError:
        pass  # nothing can be written there, which is said by those who write
    with held:
        yield


def check_unfinished(place: Place, say: Callable[[str], None] = lambda _sentence: None) -> None:
    """An epoch of work is neither thrown away unasked nor said to be there when it is not.

    Raises:
        OutputError: there is an unfinished training, and no word of what to do with it.
    """
    out, resume = place.out, place.resume
    found = resumable(out)
    if resume and not found and not (out / RUN_FILE).exists():
        say(f"{out}: there is no unfinished training to resume; starting at the first epoch")
    if not resume and not place.overwrite and found:
        raise OutputError(
            f"{out}: an unfinished training is kept for it; "
            + ("choose another folder" if resume is None else "continue it with `resume=True`")
            + ", or start anew with `overwrite=True`"
        )


def resumable(out: Path) -> bool:
    """Whether an unfinished training is kept for a run."""
    return _resumable(Place(out).work)


def _resumable(work: Path) -> bool:
    return any(work.glob(_CHECKPOINT)) or any(work.glob(f"*/{_CHECKPOINT}"))
