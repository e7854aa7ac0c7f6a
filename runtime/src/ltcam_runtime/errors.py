"""The errors a user can act on.

    LtcamError              exit code 2: nothing was done, because of what was asked or given
      InputError            one image file cannot be used; the others go on
      DataError             the data set cannot be used as asked
      RunError              a run folder cannot be read
      SettingsError         an option or a field has a value that cannot be used
      OutputError           the results cannot be written where they were asked for
      ExportError           a run cannot become a file that a line PC runs

The message names the file, field or option, what was wrong with it, and what to do. The command
line turns an error into its message and exit code in one place.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path


class LtcamError(Exception):
    """Base of every error that `ltcam` raises on purpose."""

    exit_code = 2


class InputError(LtcamError):
    """One image file cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong with it, without the path, fit for a table cell.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason


class DataError(LtcamError):
    """A data set cannot be used as asked."""


class RunError(LtcamError):
    """A run folder cannot be read: missing, damaged, or of another schema."""


class SettingsError(LtcamError):
    """An option or a settings field has a value that cannot be used."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): everything is cleaned up as after Ctrl-C."""


class OutputError(LtcamError):
    """Results cannot be written where they were asked for."""


class ExportError(LtcamError):
    """A run cannot be exported: an operator without translation, or a graph that says something else."""


def in_options(message: str, names: Collection[str]) -> str:
    """A library's message, which quotes its arguments (`image_size`, `split=all`), in the words of a command.

    Args:
        message: as the library raised it.
        names: of the command's options, as parameters; what else is quoted stays as it is.
    """

    def option(match: re.Match[str]) -> str:
        name, value = match.groups()
        words = f"--{name.replace('_', '-')}" + ("" if value in {None, "True"} else f" {value}")
        return words if name in names else match[0]

    return re.sub(r"`(\w+)(?:=([^`\n]+))?`", option, message)
