"""What a worker does: opens the model and the store once, then makes shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ltcam.cluster.generations import Task
from ltcam.cluster.judging import judge
from ltcam.cluster.local import Make
from ltcam.cluster.stores import open_store
from ltcam.jobs.models import load_model
from ltcam_runtime.errors import RunError


@dataclass(frozen=True)
class OpenMaker:
    """How a worker process gets ready. Small and picklable; the model is loaded where it is used.

    Attributes:
        model: path of the run or exported file, the same on every node.
        model_sha256: that it must have there.
        out: folder or URL of the results.
        device: `auto`, `cpu`, `cuda`.
        batch_size: images per pass of the network.
        threads: of the network, in each process.
    """

    model: str
    model_sha256: str
    out: str
    device: str = "cpu"
    batch_size: int = 8
    threads: int = 1

    def __call__(self) -> Make:
        """Load model and store.

        Raises:
            RunError: the model here is another one than the command was given.
        """
        model = load_model(Path(self.model), self.device, self.threads)
        if model.sha256 != self.model_sha256:
            raise RunError(
                f"{self.model} on this node is another model than the one that the command was given"
            )
        store = open_store(self.out)

        def make(task: Task) -> int:
            store.commit(task.name, judge(task.images, model, self.batch_size))
            return task.number

        return make
