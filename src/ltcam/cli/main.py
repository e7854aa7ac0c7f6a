"""The `ltcam` command: finds the subcommand and loads only what that needs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ltcam import __version__

COMMANDS = {
    "data": ("ltcam.cli.data", "check a data set, or make a synthetic one"),
    "train": ("ltcam.cli.train", "train a classifier on image labels; writes a run folder"),
    "distill": ("ltcam.cli.distill", "train a student on a run's masks: one forward pass, no gradients"),
    "predict": ("ltcam.cli.predict", "inspect images with a run: verdicts, masks, regions, overlays"),
    "serve": ("ltcam.cli.serve", "inspection service with history and studio"),
    "watch": ("ltcam.cli.watch", "inspect what a camera writes into a folder"),
    "history": ("ltcam.cli.history", "prove a service's history, replay an inspection"),
    "reviews": ("ltcam.cli.reviews", "turn what people said into labels for the next training"),
    "evaluate": ("ltcam.cli.evaluate", "measure a run's masks and verdicts against the truth"),
    "compare": ("ltcam.cli.compare", "measure a run's masks by many map methods side by side"),
    "tune": ("ltcam.cli.tune", "choose delta of the truncation, with masks and without"),
    "questions": ("ltcam.cli.questions", "measure the choices that the paper leaves open"),
    "reproduce": ("ltcam.cli.reproduce", "run the paper's experiments on a data set and write a page"),
}

USAGE = """Usage: ltcam COMMAND [OPTIONS] ...

OK/defect labels in, defect masks out.

Commands:
{commands}

Options:
  --debug     show the traceback of an error
  --version   print the version
  --help      this page; `ltcam COMMAND --help` for a command's options
"""

USAGE_ERROR = 2


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point; leaves the process with the command's exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name, *rest = [argument for argument in given if argument != "--debug"] or ["--help"]
    if name in {"--help", "-h"}:
        sys.stdout.write(usage())
        sys.exit(0)
    if name == "--version":
        sys.stdout.write(f"ltcam {__version__}\n")
        sys.exit(0)
    if name not in COMMANDS:
        sys.stderr.write(f"ltcam: there is no command {name!r}; choose from {', '.join(COMMANDS)}\n")
        sys.exit(USAGE_ERROR)
    from ltcam.cli import console  # noqa: PLC0415  # not needed for the help page

    console.DEBUG = "--debug" in given
    try:
        module = importlib.import_module(COMMANDS[name][0])
    except KeyboardInterrupt:
        sys.exit(console.INTERRUPTED)
    module.app(rest, prog_name=f"ltcam {name}")


def usage() -> str:
    """The help page: all commands, one line each."""
    lines = [f"  {name:<11} {help_line}" for name, (_, help_line) in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))
