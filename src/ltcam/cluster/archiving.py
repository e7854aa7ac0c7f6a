"""The job behind `ltcam archive`: a model, images and a place for the results in; every image judged exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ltcam.cluster.generations import FOLDER, Archived, Engine, Generation, run_archive
from ltcam.cluster.maker import OpenMaker
from ltcam.cluster.manifest import read_archive_manifest
from ltcam.cluster.stores import LocalStore, open_store
from ltcam.jobs.models import load_model
from ltcam_runtime.errors import OutputError
from ltcam_runtime.folders import explained


@dataclass(frozen=True)
class ArchiveSettings:
    """How an archive is judged.

    Attributes:
        engine: how a worker gets ready, to what makes the shards.
        shard_size: images per Parquet file; another size begins another generation.
        batch_size: images per pass of the network.
        device: `auto`, `cpu` or `cuda`.
    """

    engine: Callable[[OpenMaker], Engine]
    shard_size: int = 256
    batch_size: int = 8
    device: str = "cpu"


def archive(
    model: Path,
    images: str,
    out: str,
    settings: ArchiveSettings,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Archived:
    """Judge what is not judged yet.

    Args:
        model: run folder or exported file.
        images: manifest, folder or URL.
        out: folder or URL of the results.
        settings: who judges, and how.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: images that cannot be listed, or results of something else at `out`.
        RunError: the model cannot be loaded.
        OutputError: the results cannot be written, or would lie among files of others.
    """
    store = open_store(out)
    if isinstance(store, LocalStore):
        _refuse_others(store.folder)
    manifest = read_archive_manifest(images)
    known = load_model(model, settings.device)
    generation = Generation(
        model=known.sha256,
        settings=known.settings_sha256,
        manifest=manifest.sha256,
        images=len(manifest.images),
        shard_size=settings.shard_size,
        source=images,
        model_name=known.name,
        white=known.white,
    )
    results = out if "://" in out else str(Path(out).resolve())
    opener = OpenMaker(
        str(model.resolve()), known.sha256, results, settings.device, batch_size=settings.batch_size
    )
    try:
        return run_archive(store, generation, manifest, settings.engine(opener), progress)
    except KeyboardInterrupt as ended:
        raise type(ended)(f"finished shards are kept in {out}; the same command goes on there") from ended


def _refuse_others(folder: Path) -> None:
    """A generation's folder, even one that was only begun, tells an archive; pages may lie beside it."""
    with explained(folder):
        there = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    if there and not any(name.startswith(FOLDER) for name in there):
        raise OutputError(
            f"{folder} holds files of others, and no archive: results would be mixed with them; give another `out`"
        )
