"""A run and a data set, opened once and handed from one experiment to the next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ltcam.data.dataset import Sample
from ltcam.data.opened import Data, OpenData, opened
from ltcam.runs.folder import ok_labels
from ltcam.runs.inspector import Inspector
from ltcam.runs.memory import keep_freed_memory
from ltcam.runs.run import RUN_FILE, WEIGHTS_FILE
from ltcam.runs.sides import choose_samples
from ltcam_runtime.errors import DataError
from ltcam_runtime.files import file_sha256


@dataclass(frozen=True, eq=False)
class Source:
    """What an experiment is made on: a run that was loaded, and a data set that was scanned.

    Attributes:
        run: the run's folder.
        inspector: the run.
        data: the data set.
    """

    run: Path
    inspector: Inspector
    data: OpenData

    @classmethod
    def open(cls, run: Path, data: Data, *, device: str = "auto") -> Source:
        """Load a run, and scan the data unless that was done.

        Args:
            run: run folder.
            data: data set, or one that is open.
            device: `auto`, `cpu` or `cuda`.

        Raises:
            LtcamError: a run, data or a device that cannot be used.
        """
        keep_freed_memory()
        source = opened(data, one_class=True, remembered=ok_labels(run))
        return cls(run, Inspector.load(run, device=device), source)

    @cached_property
    def run_hashes(self) -> tuple[str, str]:
        """SHA-256 of the run's settings and of its weights."""
        return file_sha256(self.run / RUN_FILE), file_sha256(self.run / WEIGHTS_FILE)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.run.name} on {self.data.root.name}"

    def side(self, split: str) -> Side:
        """The images of a side.

        Args:
            split: as for `ltcam.runs.sides.choose_samples`.

        Raises:
            SettingsError: an unknown split.
            DataError: a side without images.
        """
        samples, words = choose_samples(self.data, self.run, split)
        return Side(words, samples)


@dataclass(frozen=True)
class Side:
    """The images that are looked at.

    Attributes:
        words: which they are.
        samples: all of them.
    """

    words: str
    samples: tuple[Sample, ...]

    @property
    def defective(self) -> tuple[Sample, ...]:
        """Those with a defect."""
        return tuple(sample for sample in self.samples if sample.defective)

    @property
    def masked(self) -> tuple[Sample, ...]:
        """Those with a defect and a true mask."""
        return tuple(sample for sample in self.defective if sample.mask is not None)

    def must_have_masks(self, root: Path, *, elsewhere: bool = True) -> None:
        """Refuse a side that nothing can be measured on.

        Args:
            root: of the data set, for the message.
            elsewhere: whether another side may be asked for.

        Raises:
            DataError: no defective image has a mask.
        """
        if not self.masked:
            raise DataError(
                f"{root}: none of the {len(self.defective)} defective images ({self.words}) has a mask, so there is "
                f"nothing to measure; add masks{', or try `split=all`' if elsewhere else ''}"
            )
