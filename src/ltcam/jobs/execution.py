"""How a job is carried out."""

from __future__ import annotations

from dataclasses import dataclass, field

from ltcam.jobs.bars import usual_listener
from ltcam.training.listener import Listener
from ltcam.training.logs import LogName
from ltcam_runtime.counts import MOST_THREADS, check_count


@dataclass(frozen=True)
class Execution:
    """Where a job computes and in what portions, what becomes of what is there already, and whom it tells.

    Attributes:
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, or one of several GPUs: `cuda:1`.
        devices: number of GPUs (or processes) that train together.
        batch_size: images per pass of the network, outside a training.
        threads: of the network; None: all cores.
        cascade: verdict first, and heatmaps only of images that are not OK, unless heatmaps are to be saved.
        command: how the job was called, kept in the results.
        log: program that draws the numbers of every epoch of a training; None: none.
        trust_changed_run: whether a run will do that was changed after its training.
        resume: continue a training that was stopped.
        overwrite: replace results, or a run, that are there already.
        listener: told about progress; by default bars in a notebook, and nobody elsewhere.

    Raises:
        SettingsError: a number that is none, below 1, or more threads than `MOST_THREADS`.
    """

    device: str = "auto"
    devices: int = 1
    batch_size: int = 4
    threads: int | None = None
    cascade: bool = False
    command: str = ""
    log: LogName | None = None
    trust_changed_run: bool = False
    resume: bool = False
    overwrite: bool = False
    listener: Listener = field(default_factory=usual_listener, repr=False)

    def __post_init__(self) -> None:
        check_count("devices", self.devices)
        check_count("batch_size", self.batch_size)
        if self.threads is not None:
            check_count("threads", self.threads, MOST_THREADS)
