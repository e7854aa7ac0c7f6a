"""`ltcam archive RUN MANIFEST --out OUT`, and `query`, `diff`, `drift` over what it made."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ltcam.cli.console import (
    DONE,
    NOTHING_DONE,
    SOME_FAILED,
    command,
    print_json,
    progress,
    say,
    shell_line,
    warn,
)
from ltcam.cli.options import AsJson, Device
from ltcam_runtime.errors import OutputError
from ltcam_runtime.processors import allowed_processors
from ltcam_runtime.searching import left_out_words

_LISTED = 20  # images that failed


class _JudgesByDefault(TyperGroup):
    """`ltcam archive RUN ...` judges; `query`, `diff` and `drift` as the first word ask about what is there."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named or not args else ["judge", *args])


app = typer.Typer(add_completion=False, no_args_is_help=True, cls=_JudgesByDefault)


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page beside."""

    page: Annotated[Path | None, typer.Option(help="also write a page with pictures")] = None
    overwrite: Annotated[bool, typer.Option(help="replace what is there: a page, masks")] = False

    def check(self) -> None:
        """Nothing is in the way.

        Raises:
            OutputError: the page is there already.
        """
        if self.page is not None and self.page.exists() and not self.overwrite:
            raise OutputError(f"{self.page} exists; give `overwrite=True` to replace it")

    def write(self, make: Callable[[ModuleType], str]) -> None:
        """Write it, if it is asked for."""
        if self.page is None:
            return
        from ltcam.cluster import pages  # noqa: PLC0415  # draws pictures
        from ltcam.reports.html import write_page  # noqa: PLC0415

        write_page(self.page, make(pages))
        say(f"look at: {self.page}")


@dataclass(frozen=True, kw_only=True)
class _Written(_Page):
    """What is written and told."""

    out: Annotated[str, typer.Option(help="folder or URL (s3://...) of the results")]
    as_json: Annotated[bool, typer.Option("--json", help="print a summary as JSON")] = False


@dataclass(frozen=True, kw_only=True)
class _Workers:
    """Who judges."""

    engine: Annotated[Literal["local", "ray"], typer.Option(help="processes here, or a Ray cluster")] = (
        "local"
    )
    address: Annotated[str, typer.Option(help="HOST:PORT of a Ray cluster; default: one on this machine")] = (
        ""
    )
    processes: Annotated[int | None, typer.Option(min=1, help="default: one per core")] = None

    def of(self, opener: Callable[[], Callable[[Any], int]]) -> Any:
        """The engine, its workers opened by a function."""
        from ltcam.cluster.local import LocalEngine  # noqa: PLC0415  # an extra, slow to import
        from ltcam.cluster.ray_engine import RayEngine  # noqa: PLC0415

        count = self.processes or allowed_processors()
        return RayEngine(opener, self.address, count) if self.engine == "ray" else LocalEngine(opener, count)


@dataclass(frozen=True, kw_only=True)
class _Portions:
    """In what portions, and where a worker computes."""

    shard_size: Annotated[int, typer.Option(min=1, max=100_000, help="images per Parquet file")] = 256
    batch_size: Annotated[int, typer.Option(min=1, max=256, help="images per pass of the network")] = 8
    device: Device = "cpu"


@app.command()
@command
def judge(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="run folder or exported file")],
    images: Annotated[
        str, typer.Argument(metavar="MANIFEST|FOLDER|URL", help="FILE.csv, FILE.parquet, folder or s3://...")
    ],
    written: _Written,
    workers: _Workers,
    portions: _Portions,
) -> int:
    """Judge very many images, each exactly once. The same command again goes on where it was ended.

    Also: ltcam archive query OUT "verdict = 'defect' order by area desc limit 50" --page hits.html,
    ltcam archive diff OLD NEW, ltcam archive drift OUT.

    Example: ltcam archive run years.parquet --out judged
    """
    from ltcam.cluster import reading as read  # noqa: PLC0415
    from ltcam.cluster.archiving import ArchiveSettings, archive  # noqa: PLC0415  # an extra, slow to import
    from ltcam.cluster.stores import open_store  # noqa: PLC0415

    written.check()
    out = written.out
    settings = ArchiveSettings(workers.of, portions.shard_size, portions.batch_size, portions.device)
    with progress("judging shards") as advance:
        done = archive(model, images, out, settings, advance)
    generation = done.generation
    failed = read.failures(open_store(out), generation)
    for name, reason in failed[:_LISTED]:
        say(f"failed: {_failed(name, reason, images)}")
    if len(failed) > _LISTED:
        told = shell_line("ltcam", "archive", "query", f"{out}/{generation.name}", "error is not null")
        say(f"... and {len(failed) - _LISTED} more: {told}")
    for words in left_out_words(done.left_out):
        say(f"left out: {words}")
    say(
        f"{generation.images} images in {generation.shards} shards ({done.found} were there, {done.made} made), "
        f"{len(failed)} unreadable; results: {out}/{generation.name}"
    )
    if written.page is not None:
        with read.opened(out, generation.name) as connection:
            counts = read.verdicts(connection)
            written.write(
                lambda pages: pages.summary_page(
                    counts, read.query(connection, pages.SUREST), generation.name, generation.white
                )
            )
    if written.as_json:
        summary = {"generation": generation.name, "images": generation.images, "shards": generation.shards}
        print_json({**summary, "found": done.found, "made": done.made, "failed": len(failed)})
    if len(failed) == generation.images:
        return NOTHING_DONE
    return SOME_FAILED if failed else DONE


def _failed(name: str, reason: str, manifest: str) -> str:
    """What failed and why. A row without an id is called by its number, which its reason may say already."""
    if re.match(rf"{re.escape(name)}[ :]", reason):
        return f"{manifest}, {reason}"
    return f"{name}: {reason}"


@dataclass(frozen=True, kw_only=True)
class _Archive:
    """What was judged."""

    archive: Annotated[str, typer.Argument(metavar="OUT", help="results of ltcam archive")]
    generation: Annotated[str, typer.Option(help="which generation; not needed where there is one")] = ""


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """What is written of the images found, and told."""

    masks: Annotated[
        Path | None, typer.Option(help="also write their masks as PNG files into this folder")
    ] = None
    as_json: AsJson = False


@app.command()
@command
def query(
    judged: _Archive,
    beside: _Page,
    written: _Hits,
    condition: Annotated[str, typer.Argument(help="SQL behind WHERE; columns as in the docs")] = "true",
) -> int:
    """Images that fit a condition.

    Example: ltcam archive query judged "verdict = 'defect' order by area desc limit 50" --page hits.html
    """
    from ltcam.cluster import reading as read  # noqa: PLC0415
    from ltcam.cluster.masks import write_masks  # noqa: PLC0415

    beside.check()
    with read.opened(judged.archive, judged.generation) as connection:
        rows = read.query(connection, condition)
    white = read.white_of(judged.archive, judged.generation)
    if written.masks is not None:
        say(f"{write_masks(rows, written.masks, overwrite=beside.overwrite)} masks: {written.masks}")
    beside.write(lambda pages: pages.hits_page(rows, condition, judged.archive, white))
    if written.as_json:
        print_json(rows)
    else:
        for row in rows[:50]:
            say(
                f"{row['verdict'] or 'unreadable':<10} {row['score'] or 0:.3f} {row['area'] or 0:>8} px  {row['id']}"
            )
    say(f"{len(rows)} images")
    return DONE


@app.command()
@command
def diff(
    old: Annotated[str, typer.Argument(help="OUT/GENERATION")],
    new: Annotated[str, typer.Argument(help="OUT/GENERATION")],
    beside: _Page,
    as_json: AsJson = False,
) -> int:
    """Whose verdict changed between two generations, and why."""
    from ltcam.cluster import reading as read  # noqa: PLC0415

    beside.check()
    with read.opened(old) as before, read.opened(new) as after:
        found = read.differences(before, after)
    beside.write(lambda pages: pages.differences_page(found, old, new, read.white_of(new)))
    for change, count in found.changes.items():
        say(f"{change}: {count}")
    say(f"{found.images} images in both, {len(found.rows)} verdicts changed")
    if as_json:
        print_json(asdict(found))
    return DONE


@app.command()
@command
def drift(
    judged: _Archive,
    beside: _Page,
    run: Annotated[
        Path | None, typer.Option(help="run folder: the page begins with the scores its training held back")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Scores per day and line (the manifest's columns time and line).

    Example: ltcam archive drift judged --run run --page drift.html
    """
    from ltcam.cluster import reading as read  # noqa: PLC0415
    from ltcam.runs.folder import scores_held_back  # noqa: PLC0415

    beside.check()
    with read.opened(judged.archive, judged.generation) as connection:
        found = read.drift(connection)
    reference = scores_held_back(run) if run else ()
    beside.write(lambda pages: pages.drift_page(found, reference, judged.archive))
    for group in found.groups[-50:]:
        say(f"{found.name(group)}: {group.images} images, {100 * group.defect_share:.1f} % judged defective")
    if undated := found.undated_words():
        warn(undated)
    if as_json:
        print_json(asdict(found))
    return DONE
