"""How a job is computed."""

from __future__ import annotations

from dataclasses import dataclass

from ltcam.training.logs import LogName


@dataclass(frozen=True)
class Execution:
    """Where a job computes, and in what portions.

    Attributes:
        device: `auto` (a GPU if there is one), `cpu`, `cuda`, or one of several GPUs: `cuda:1`.
        devices: number of GPUs (or processes) that train together.
        batch_size: images per pass of the network, outside a training.
        threads: of the network; None: all cores.
        cascade: verdict first, and heatmaps only of images that are not OK, unless heatmaps are to be saved.
        command: how the job was called, kept in the results.
        log: program that draws the numbers of every epoch of a training; None: none.
        trust_changed_run: whether a run will do that was changed after its training.
    """

    device: str = "auto"
    devices: int = 1
    batch_size: int = 4
    threads: int | None = None
    cascade: bool = False
    command: str = ""
    log: LogName | None = None
    trust_changed_run: bool = False
