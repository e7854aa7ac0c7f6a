"""`ltcam history verify|replay`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ltcam.cli.console import DONE, SOME_FAILED, command, print_json, say
from ltcam.cli.options import AsJson, Device

if TYPE_CHECKING:
    from ltcam.service.history import History

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class KeptHistory:
    """The history that a service keeps."""

    state: Annotated[Path, typer.Option(help="the service's --state folder")] = Path("ltcam-service")
    database: Annotated[str, typer.Option(help="URL of the history; default: the file in --state")] = ""

    def open(self) -> History:
        """It, opened."""
        from ltcam.service.opening import open_kept_history  # noqa: PLC0415  # an extra

        return open_kept_history(self.state, self.database)


@app.command()
@command
def verify(kept: KeptHistory, as_json: AsJson = False) -> int:
    """Check that no record was changed, removed or added behind the service's back. Exit code 1 if one was."""
    count, broken = kept.open().verify()
    if as_json:
        problem = None if broken is None else {"sequence": broken.sequence, "reason": broken.reason}
        print_json({"records": count, "broken": problem})
    if broken is not None:
        say(f"record {broken.sequence}: {broken.reason}; the {count} records before it hold")
        return SOME_FAILED
    say(f"{count} records, unchanged since they were written")
    return DONE


@app.command()
@command
def replay(
    id: Annotated[str, typer.Argument(help="of the inspection")],  # noqa: A002
    model: Annotated[Path, typer.Option(help="run folder or exported file that inspected it")],
    kept: KeptHistory,
    device: Device = "auto",
    as_json: AsJson = False,
) -> int:
    """Inspect a kept image again and show that verdict, score, regions and mask are the recorded ones."""
    from ltcam.jobs.models import load_model  # noqa: PLC0415
    from ltcam.service.replay import replay as inspect_again  # noqa: PLC0415

    again = inspect_again(kept.open(), load_model(model, device), id)
    if as_json:
        print_json(
            {"same": again.same, "recorded": again.recorded, "found": again.found, "differs": again.differs}
        )
    if not again.same:
        say(f"not the same: {', '.join(again.differs)}")
        return SOME_FAILED
    say(f"the same: {again.recorded['verdict']}, score {again.recorded['score']:.6f}")
    return DONE
