"""What every command gets beside its own options: groups on its help page, an example, a place for its results."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import typer

from ltcam.cli.places import PLACE, free_place

HELP_OPTIONS = ("-h", "--help")

_GROUPS = {
    "Data": "layout split masked seed images surfaces defect_share group_by ok mask_threshold "
    "trust_changed_run",
    "Training": "backbone head weights image_size freeze epochs learning_rate weight_decay augment validation_share "
    "max_miss confidence classic rounds keep resume dry_run",
    "Map, mask and verdict": "method methods percentile scope reading stages fusion threshold sharpen "
    "verdict_threshold unsure_margin zoom min_area px_per_mm",
    "Results": "out _config format golden verify calibration cost_miss cost_alarm overwrite save page as_json "
    "bootstrap log",
    "Machine": "batch_size cascade device devices every threads precision memory_format probing_bfloat16",
}
_SUFFIXES = {"export": ".ltcam.onnx"}
"""Of the commands whose result is a file."""

_GOES_ON = {"watch", "archive judge"}
"""Commands that go on in the folder they wrote before; a free one would begin anew."""

_GROUP_OF = {name: group for group, names in _GROUPS.items() for name in names.split()}

_EXAMPLES = {
    "data check": "ltcam data check photos --page photos.html",
    "data synth": "ltcam data synth tiles --surfaces ceramic --images 60",
    "train": "ltcam train photos --out runs/line3",
    "distill": "ltcam distill runs/line3 photos --out runs/line3-student",
    "predict": "ltcam predict runs/line3 new-photos --out results",
    "export": "ltcam export runs/line3 --out line3.ltcam.onnx",
    "evaluate": "ltcam evaluate runs/line3 photos --out metrics",
    "compare": "ltcam compare runs/line3 photos --out compared",
    "tune": "ltcam tune runs/line3 photos --out tuned",
}


def load(name: str, module: str) -> Any:
    """The parser of a command that a module defines, complete."""
    command = typer.main.get_command(importlib.import_module(module).app)
    for words, each in _with_inner(name, command):
        for parameter in each.params:
            if parameter.param_type_name == "argument":
                parameter.metavar = parameter.metavar or str(parameter.name).upper()
            else:
                parameter.rich_help_panel = _GROUP_OF.get(str(parameter.name), "Other")
                if parameter.name == "out" and parameter.required and words not in _GOES_ON:
                    _give_place(parameter, words.replace(" ", "-"), _SUFFIXES.get(words, ""))
        if words in _EXAMPLES:
            each.epilog = f"Example: {_EXAMPLES[words]}"
    return command


def _with_inner(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for inner, each in getattr(command, "commands", {}).items():
        yield f"{name} {inner}", each


def _give_place(parameter: Any, stem: str, suffix: str) -> None:
    parameter.required = False
    parameter.callback = lambda context, _parameter, given: (
        context.with_resource(free_place(stem, suffix=suffix)) if given is None else given
    )
    first, second = (f"{PLACE.name}/{stem}{number}{suffix}" for number in ("", "-2"))
    parameter.show_default = f"{first}, or {second} and so on where that is taken"
