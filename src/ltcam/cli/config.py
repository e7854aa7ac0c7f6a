"""`--config FILE`: options from an earlier run, or from a file of options. What is given beside it wins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from ltcam_runtime.phrases import printable

_LARGEST = 4 * 2**20  # bytes
_NEVER = {"_config", "help"}


def _take_options(context: typer.Context, file: Path | None) -> Path | None:
    """The file's options as the command's defaults."""
    if file is not None:
        options = {
            flag.removeprefix("--"): parameter.name
            for parameter in context.command.params
            for flag in parameter.opts
            if parameter.name and parameter.name not in _NEVER
        }
        try:
            context.default_map = {**(context.default_map or {}), **options_of(file, options)}
        except OSError as error:
            raise typer.BadParameter(printable(f"{file}: {error.strerror or error}")) from error
        except ValueError as error:
            raise typer.BadParameter(printable(str(error))) from error
    return file


def _option(what: str) -> Any:
    return typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_take_options,
        help=f"options from {what}; options beside it win",
    )


Config = Annotated[
    Path | None, _option("a run's run.json, or from a YAML or JSON file of options (epochs: 8)")
]
OptionsFile = Annotated[Path | None, _option("a YAML or JSON file (unsure: 0.1)")]


def options_of(file: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """The options in a file, by the names of a command's parameters.

    Args:
        file: a run.json, of which the training's settings are taken as far as the command has them, or one of options
            as they are typed, `image-size: 640x256`.
        options: of the command, as they are typed, and the names of their parameters.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none of both, or has an option that the command has not.
    """
    values, names = _read(file), set(options.values())
    if "schema_version" in values:
        data = values.get("data")
        reading = data.get("reading", {}) if isinstance(data, Mapping) else {}
        training = values.get("training")
        if not isinstance(training, Mapping) or not isinstance(reading, Mapping):
            raise ValueError(f"{file} holds no settings of a training")
        if "seed" not in names:
            raise ValueError(
                f"{file} holds options of a training; this command wants a file of its own options"
            )
        found = {name: value for name, value in {**training, **reading}.items() if name in names}
    else:
        found = {}
        for typed, value in ((str(name).replace("_", "-"), value) for name, value in values.items()):
            if typed not in options:
                close = get_close_matches(typed, options, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise ValueError(f"{file}: there is no option {typed!r}{hint}")
            found[options[typed]] = value
    return {name: _typed(name, value) for name, value in found.items() if value is not None}


def _read(file: Path) -> Mapping[str, Any]:
    import yaml  # noqa: PLC0415  # only where it is asked for

    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is not a regular file")
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"{file} is {file.stat().st_size} bytes long; a file of options is far smaller")
    text = file.read_text(encoding="utf-8")
    try:
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{file} holds no options; write one a line, such as epochs: 8")
    return values


def _typed(name: str, value: Any) -> Any:
    """A value as it would be typed: a size as 640x256, a single one of several as a list of one."""
    if name == "image_size" and isinstance(value, list):
        return "x".join(str(side) for side in value)
    if name == "ok" and not isinstance(value, list):
        return [value]
    return value
