"""Whether an image that is sent now could be answered: what a load balancer asks before it sends one."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import disk_usage
from typing import Any

from ltcam.service.batching import Batcher
from ltcam.service.history import History
from ltcam_runtime.errors import OutputError

LEAST_FREE = 256 * 2**20
"""Bytes that must be free where the history is kept: what is in line already needs room too."""


def why_not_ready(history: History, batcher: Batcher[Any, Any, Any]) -> str:
    """Why an image could not be inspected and kept now, or "". Writes nothing, and names no place: anybody may ask.

    Args:
        history: that has to take a record and its pictures.
        batcher: that has to have room in line.
    """
    try:
        history.check_writable()
    except OutputError:
        return "the history's database takes no record"
    for folder in filter(None, (history.pictures.folder, history.database.folder)):
        if reason := _why_no_room(folder):
            return reason
    if batcher.waiting >= batcher.budget.most_waiting:
        return "too many images are waiting"
    return ""


def _why_no_room(folder: Path) -> str:
    try:
        free = disk_usage(folder).free
    except OSError:
        return "a folder of the history is not there"
    if not os.access(folder, os.W_OK | os.X_OK):
        return "a folder of the history cannot be written to"
    return f"less than {LEAST_FREE // 2**20} MiB are free for the history" if free < LEAST_FREE else ""
