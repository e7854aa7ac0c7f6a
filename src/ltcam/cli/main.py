"""The `ltcam` command: finds the subcommand and loads only what that needs."""

from __future__ import annotations

import sys

from ltcam import __version__
from ltcam.privacy import keep_private
from ltcam_runtime.starting import EndsAtOnce

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "data": ("ltcam.cli.data", "check a data set, or make a synthetic one"),
    "quick": ("ltcam.cli.quick", "first masks within a minute: a run without training a network"),
    "train": ("ltcam.cli.train", "train a classifier on image labels; writes a run folder"),
    "distill": ("ltcam.cli.distill", "train a student on a run's masks: one forward pass, no gradients"),
    "predict": ("ltcam.cli.predict", "inspect images with a run: verdicts, masks, regions, overlays"),
    "export": ("ltcam.cli.export", "write a run into one file that inspects without torch"),
    "serve": ("ltcam.cli.serve", "inspection service with history and studio"),
    "watch": ("ltcam.cli.watch", "inspect what a camera writes into a folder"),
    "archive": ("ltcam.cli.archive", "judge very many images, each exactly once; query and compare them"),
    "history": ("ltcam.cli.history", "prove a service's history, replay an inspection"),
    "reviews": ("ltcam.cli.reviews", "turn what people said into labels for the next training"),
    "evaluate": ("ltcam.cli.evaluate", "measure a run's masks and verdicts against the truth"),
    "compare": ("ltcam.cli.compare", "measure a run's masks by many map methods side by side"),
    "tune": ("ltcam.cli.tune", "choose the percentile of the truncation, with masks and without"),
    "questions": ("ltcam.cli.questions", "measure the choices that the paper leaves open"),
    "completion": (
        "ltcam.cli.completion",
        "print a script that completes commands and options in your shell",
    ),
    "reproduce": ("ltcam.cli.reproduce", "run the paper's experiments on a data set and write a page"),
}

_MEANT = {
    "check": "data check",
    "synth": "data synth",
    "inspect": "predict",
    "infer": "predict",
    "test": "evaluate",
    "eval": "evaluate",
    "fit": "train",
}
"""What people type for a command."""

USAGE = """Usage: ltcam COMMAND [OPTIONS] ...

OK/defect labels in, defect masks out.

Commands:
{commands}

Begin with: ltcam data check PHOTOS, then ltcam train PHOTOS.

Options:
  --debug     show the traceback of an error
  --version   print the version
  --help, -h  this page; `ltcam COMMAND --help` for a command's options
"""

USAGE_ERROR = 2


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point; leaves the process with the command's exit code."""
    with EndsAtOnce("ltcam"):
        keep_private()
        given = list(sys.argv[1:] if arguments is None else arguments)
        name, *rest = [argument for argument in given if argument != "--debug"] or ["--help"]
        if name in {"--help", "-h"}:
            sys.stdout.write(usage())
            sys.exit(0)
        if name == "--version":
            sys.stdout.write(f"ltcam {__version__}\n")
            sys.exit(0)
        if name not in COMMANDS:
            sys.stderr.write(unknown(name))
            sys.exit(USAGE_ERROR)
        _command(name, rest, debug="--debug" in given)


def _command(name: str, rest: list[str], *, debug: bool) -> None:
    # Not needed for the help page.
    from ltcam.cli import console  # noqa: PLC0415
    from ltcam.cli.commands import HELP_OPTIONS, load  # noqa: PLC0415
    from ltcam.cli.process import prepared  # noqa: PLC0415
    from ltcam_runtime.interrupts import code_of  # noqa: PLC0415

    console.DEBUG = debug
    try:
        with prepared():
            load(name, COMMANDS[name][0])(rest, prog_name=f"ltcam {name}", help_option_names=HELP_OPTIONS)
    except KeyboardInterrupt as interrupt:
        console.say("ltcam: interrupted; nothing was written")
        sys.exit(code_of(interrupt))


def unknown(name: str) -> str:
    """What to say of a command that there is none of, and of one that was meant."""
    from difflib import get_close_matches  # noqa: PLC0415  # not needed for the help page

    close = get_close_matches(name, [*COMMANDS, *_MEANT], n=1)
    hint = f" Did you mean {_MEANT.get(close[0], close[0])}?" if close else ""
    return f"ltcam: there is no command {name!r}; choose from {', '.join(COMMANDS)}.{hint}\n"


def usage() -> str:
    """The help page: all commands, one line each."""
    lines = [f"  {name:<11} {help_line}" for name, (_, help_line) in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))
