"""What the benchmarks have in common: their options, the runs that they are given, and how results are kept."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a benchmark's own description, with its line breaks."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def pair(text: str) -> tuple[Path, Path]:
    """Two paths, typed as `RUN=DATA`."""
    run, equals, data = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: give two paths, as RUN=DATA")
    return Path(run), Path(data)


def write_result(file: Path, result: Any) -> None:
    """Keep what was measured as JSON."""
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
