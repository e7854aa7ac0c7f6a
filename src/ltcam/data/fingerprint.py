"""One number for the contents of a data set, so that a run can say what it was trained on."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import file_sha256
from ltcam_runtime.errors import InputError


def fingerprint(dataset: Dataset) -> str:
    """SHA-256 over ids, labels and file contents of all samples, in hexadecimal.

    Where the data set lies, its groups and splits, and its masks are not part of it: the same images with
    the same labels have the same fingerprint. A file that cannot be read counts as such.
    """
    with ThreadPoolExecutor() as pool:
        contents = pool.map(_content, (sample.path for sample in dataset.samples))
    digest = hashlib.sha256(b"ltcam data 1\n")
    for sample, content in zip(dataset.samples, contents, strict=True):
        # repr keeps the fields apart whatever characters they hold
        digest.update(f"{sample.id!r} {sample.label!r} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _content(path: Path) -> str:
    try:
        return f"{path.stat().st_size} {file_sha256(path)}"
    except (OSError, InputError):
        return "unreadable"
