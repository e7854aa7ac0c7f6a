"""A generation of an archive: what is to be judged with what, which shards are there, and one engine to make the rest.

    OUT/GENERATION/generation.json     model, settings, manifest, shard size: written once, before any shard
    OUT/GENERATION/part-00000.parquet  shard 0: a fixed slice of the manifest

The generation's name is a hash of all that decides its rows, so that a changed model, setting or manifest begins a new
one and never mixes with the old.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ltcam.cluster.manifest import Listed, Manifest
from ltcam.cluster.stores import Store
from ltcam_runtime.errors import DataError
from ltcam_runtime.searching import LeftOut

DESCRIPTION = "generation.json"
FOLDER = "generation-"
"""How the name of a generation's folder begins."""

_DIGITS = 12


@dataclass(frozen=True)
class Generation:
    """What decides the rows of an archive.

    Attributes:
        model: SHA-256 of the model.
        settings: SHA-256 of the inspection settings.
        manifest: SHA-256 of the manifest.
        images: number of them.
        shard_size: images in a shard.
        source: the manifest as the user named it; does not count for the name.
        model_name: of the run; does not count for the name.
        white: with which the model reads 16-bit images; one of its settings.
    """

    model: str
    settings: str
    manifest: str
    images: int
    shard_size: int
    source: str
    model_name: str
    white: int | None = None

    @property
    def name(self) -> str:
        """Folder of the generation."""
        decisive = (self.model, self.settings, self.manifest, self.shard_size)
        return f"{FOLDER}{hashlib.sha256(repr(decisive).encode()).hexdigest()[:_DIGITS]}"

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.images // self.shard_size)

    def part(self, number: int) -> str:
        """Name of a shard's file in the store."""
        return f"{self.name}/part-{number:05d}.parquet"


@dataclass(frozen=True)
class Task:
    """One shard to be made.

    Attributes:
        number: of the shard.
        name: of its file in the store.
        images: its slice of the manifest.
    """

    number: int
    name: str
    images: tuple[Listed, ...]


@dataclass(frozen=True)
class Archived:
    """What a run of the command did.

    Attributes:
        generation: that was worked on.
        found: shards that were there already.
        made: shards made now.
        left_out: what is no image of the archive, though it stands in its folder.
    """

    generation: Generation
    found: int
    made: int
    left_out: tuple[LeftOut, ...] = ()


class Engine(Protocol):
    """Makes shards, anywhere and in any order, and commits each to the store."""

    def __call__(self, tasks: Sequence[Task], /) -> Iterator[int]:
        """Numbers of shards as they are committed."""


def run_archive(
    store: Store,
    generation: Generation,
    manifest: Manifest,
    engine: Engine,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Archived:
    """Make the shards that are missing.

    Args:
        store: of the results.
        generation: begun here where it is new.
        manifest: all images.
        engine: makes shards.
        progress: called with (shards done, shards in all).

    Raises:
        DataError: the store holds another generation of that name.
        OutputError: the store cannot be written.
    """
    begin(store, generation)
    there = store.names(generation.name)
    tasks = [
        Task(number, name, images)
        for number, images in manifest.shards(generation.shard_size)
        if (name := generation.part(number)) not in there
    ]
    found = generation.shards - len(tasks)
    progress(found, generation.shards)
    made = 0
    for _ in engine(tasks):
        made += 1
        progress(found + made, generation.shards)
    return Archived(generation, found, made, manifest.left_out)


def begin(store: Store, generation: Generation) -> None:
    """Write what the generation is, or check that it is this one."""
    name = f"{generation.name}/{DESCRIPTION}"
    text = json.dumps(asdict(generation), indent=2).encode()
    if store.commit(name, text):
        return
    known = read_generation(store, generation.name)
    if known.name != generation.name:
        raise DataError(f"{store.url}/{name} describes another generation; it was changed by hand")


def read_generation(store: Store, name: str) -> Generation:
    """The description of a generation.

    Raises:
        DataError: there is none, or it is damaged.
    """
    try:
        values: dict[str, Any] = json.loads(store.read(f"{name}/{DESCRIPTION}"))
        return Generation(**values)
    except FileNotFoundError:
        raise DataError(f"{store.url} holds no generation {name}") from None
    except (ValueError, TypeError) as error:
        raise DataError(f"{store.url}/{name}/{DESCRIPTION} is damaged: {error}") from error


def generations(store: Store) -> list[str]:
    """Names of the generations in a store."""
    names = {name.partition("/")[0] for name in store.names("") if name.endswith(f"/{DESCRIPTION}")}
    return sorted(names)
