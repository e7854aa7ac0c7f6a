"""Write docs/reference/cli.md from the commands themselves.

python docs/make_reference.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ltcam.cli.commands import load
from ltcam.cli.main import COMMANDS

FILE = Path(__file__).parent / "reference" / "cli.md"

HEAD = """\
<!-- Made by docs/make_reference.py from the commands. Do not edit by hand. -->

# Commands

    ltcam COMMAND [OPTIONS] ...

`ltcam --help` lists the commands, `ltcam COMMAND --help` the options of one, `ltcam --version` the version.
With `--debug` anywhere on the line an error shows its traceback.

Results and tables go to the output stream; progress, notes and errors go to the error stream.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | done, but some images or masks could not be read; they are listed |
| 2 | nothing was done; the message says why |
| 130, 143 | interrupted with Ctrl-C, asked to end by the system (SIGTERM) |

A command that writes a folder writes it beside its place first and renames it when it is whole.
`--overwrite` replaces earlier results of the same command, and never a folder that holds anything else.
"""


def reference() -> str:
    """The page."""
    return "\n".join([HEAD, *(section(name, command) for name, command in commands().items())])


def commands() -> dict[str, Any]:
    """All commands by what is typed: `data check`, `train`, and so on."""
    found: dict[str, Any] = {}
    for name, (module, _) in COMMANDS.items():
        command = load(name, module)
        below = getattr(command, "commands", None)
        if below is None:
            found[name] = command
        else:
            found.update({f"{name} {inner}": each for inner, each in below.items()})
    return found


def section(name: str, command: Any) -> str:
    """Usage, help, arguments and options of one command."""
    context = command.make_context(f"ltcam {name}", [], resilient_parsing=True)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join(["ltcam", name, *(_shown(each) for each in arguments)])
    needed = "".join(f" {_written(each, context)}" for each in options if each.required)
    lines = [f"## ltcam {name}", "", f"    {usage}{needed} [OPTIONS]", "", command.help.strip(), ""]
    if arguments:
        lines += ["| argument | meaning |", "|---|---|"]
        lines += [f"| `{_shown(each)}` | {_cell(each.help)} |" for each in arguments]
        lines.append("")
    lines += ["| option | meaning |", "|---|---|"]
    lines += [f"| `{_cell(_written(each, context))}` | {_meaning(each, context)} |" for each in options]
    return "\n".join([*lines, ""])


def _shown(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _written(option: Any, context: Any) -> str:
    """`--images <int>`, `--json`."""
    written = str(option.get_help_record(context)[0])
    for word in (" range", " RANGE", "[", "]"):
        written = written.replace(word, "")
    return written


def _meaning(option: Any, context: Any) -> str:
    return _cell(str(option.get_help_record(context)[1]))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("[", "(").replace("]", ")")


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(reference(), encoding="utf-8")
