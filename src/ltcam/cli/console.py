"""What all commands share: messages, progress, exit codes, options made from settings."""

from __future__ import annotations

import functools
import inspect
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from ltcam.cli.groups import Options
from ltcam_runtime.errors import LtcamError, SettingsError, in_options
from ltcam_runtime.interrupts import code_of, delivered
from ltcam_runtime.phrases import said

DEBUG = False
"""Whether errors show their traceback; set by `--debug`."""

_options: Collection[str] = ()
"""Those of the command that runs, as parameters: what the library quotes of them is said as it is typed."""

DONE, SOME_FAILED, NOTHING_DONE = 0, 1, 2

errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)  # `:x:` is as it was typed


def command(body: Callable[..., int]) -> Callable[..., None]:
    """A body that returns the exit code, made a command: safe to call from a shell, its groups of options apart."""
    options = Options.of(body)

    @functools.wraps(body)
    def guarded(**given: Any) -> None:
        global _options  # noqa: PLW0603  # one command runs in a process
        _options = options.names
        try:
            code = options.taken(given)
        except KeyboardInterrupt as interrupt:
            _fail(f"interrupted; {str(interrupt) or 'nothing was written'}", code_of(interrupt))
        except Exception as error:
            swallowed = delivered()
            if swallowed is not None:  # by compiled code, which answered with this error
                _fail("interrupted", code_of(swallowed))
            _fail(*_told(error))
        else:
            raise typer.Exit(code)

    # The body's int is for `guarded`; a parser would take it for a value to print.
    guarded.__signature__ = inspect.Signature(options.parameters)  # type: ignore[attr-defined]
    guarded.__annotations__ = {each.name: each.annotation for each in options.parameters}
    return guarded


def _told(error: Exception) -> tuple[str, int]:
    """What a command says of an error, and its exit code."""
    if isinstance(error, LtcamError):
        return str(error), error.exit_code
    if isinstance(error, PermissionError) and error.filename is not None:
        return f"{error.filename}: no permission; check who may read or write it", NOTHING_DONE
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}", NOTHING_DONE
    if isinstance(error, (MemoryError, OSError, FloatingPointError)):
        return f"{type(error).__name__}: {error}", NOTHING_DONE
    # A fault of ours: told in a line as well, and how to see more.
    unexpected = f"unexpected {type(error).__name__}: {error}"
    return f"{unexpected} (this is a fault in ltcam; --debug shows where)", NOTHING_DONE


def _fail(message: str, code: int) -> None:
    if DEBUG:
        traceback.print_exc()
    say(f"ltcam: {message}")
    raise typer.Exit(code)


def in_words(message: str) -> str:
    """What the library says, for people who typed the command that runs."""
    return said(in_options(message, _options))


def say(message: str) -> None:
    """A sentence for people, on the error stream, so that the output stays readable by programs."""
    errors.print(in_words(message), markup=False)


def warn(message: str) -> None:
    """A sentence that must not be overlooked: amber on a terminal, and said to be one everywhere."""
    errors.print(in_words(f"with care: {message}"), markup=False, style="yellow")


def shell_line(*words: object) -> str:
    """Words as a shell takes them."""
    return shlex.join(str(word) for word in words)


def called() -> str:
    """The command as it was typed, for the results."""
    return shlex.join(["ltcam", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()


def print_json(value: Any) -> None:
    """A value for programs, on the output stream."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


class Bar:
    """A bar with counts, times and speed. Called with (done, total); until then it says "loading"."""

    def __init__(self, shown: Progress, description: str, unit: str) -> None:
        """A bar of a display; `unit` is what is counted."""
        self._shown = shown
        self._task = shown.add_task(description, total=None, unit=unit, start_at=None)

    def __call__(self, done: int, total: int) -> None:
        """So many of so many. What was done before the first call (by a training that is resumed) says no speed."""
        task = self._shown.tasks[0]
        begun = max(done - 1, 0) if task.fields["start_at"] is None else task.fields["start_at"]
        self._shown.update(self._task, completed=done, total=total, start_at=begun)

    def begin(self, description: str, unit: str = "img") -> None:
        """Another step begins, of which nothing is known yet."""
        self._shown.reset(self._task, description=description, unit=unit, start_at=None, total=None)


@contextmanager
def progress(description: str, unit: str = "img") -> Iterator[Bar]:
    """A bar on a terminal; nothing elsewhere.

    Args:
        description: what is done.
        unit: what is counted.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), _Counts())
    with Progress(*columns, console=errors, disable=not errors.is_terminal, transient=True) as shown:
        yield Bar(shown, description, unit)


class _Counts(ProgressColumn):
    """`12/58, 0:04 elapsed, 0:01 left, 9.3 img/s`."""

    def render(self, task: Task) -> Text:
        begun, unit = task.fields["start_at"] or 0, task.fields["unit"]
        return Text(counts_line(task.completed, task.total, task.elapsed or 0.0, unit, begun))


def counts_line(done: float, total: float | None, elapsed: float, unit: str, begun: float = 0) -> str:
    """How far something is, in words: the time left as if all that is left took as long as what is done.

    Args:
        done: how many are done.
        total: of how many; None while that is not known.
        elapsed: seconds since it began.
        unit: what is counted.
        begun: how many were done before it began.
    """
    if total is None:
        return f"loading, {clock(elapsed)} elapsed"
    parts = [f"{done:.0f}/{total:.0f}", f"{clock(elapsed)} elapsed"]
    made = done - begun
    if made > 0 and elapsed:
        parts += [f"{clock(elapsed * (total - done) / made)} left", f"{made / elapsed:.1f} {unit}/s"]
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """`0:04`, `12:30`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def setting(model: type[BaseModel], name: str, *flags: str, **options: Any) -> Any:
    """A command-line option whose default and help are those of a settings field."""
    field = model.model_fields[name]
    return typer.Option(
        *flags or (f"--{name.replace('_', '-')}",),
        help=in_options(field.description or "", model.model_fields),
        **options,
    )


def parse_size(text: str, name: str = "image_size") -> tuple[int, int]:
    """`640x256` (height x width) to (640, 256).

    Args:
        text: as it was typed.
        name: of the parameter, for the message.

    Raises:
        SettingsError: anything else.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() and 16 <= int(part) <= 8192 for part in parts):
        raise SettingsError(
            f"`{name}` {text!r}: give height x width in pixels, 16 to 8192 each, such as 640x256"
        )
    return int(parts[0]), int(parts[1])


def listed(text: str) -> tuple[str, ...]:
    """`a, b` to ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
