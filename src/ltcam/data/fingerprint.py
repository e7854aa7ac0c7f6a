"""Which images a data set holds, by their contents, so that a run can say what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ltcam.data.dataset import Dataset
from ltcam_runtime.errors import InputError
from ltcam_runtime.files import file_sha256


def content_hashes(dataset: Dataset, known: Mapping[str, str] | None = None) -> dict[str, str]:
    """SHA-256 of each image file by sample id, in hexadecimal; "" where a file cannot be read.

    Args:
        dataset: the samples.
        known: of files that were read already.
    """
    known = known or {}
    unknown = [sample for sample in dataset.samples if sample.id not in known]
    with ThreadPoolExecutor() as pool:
        contents = pool.map(_content, (sample.path for sample in unknown))
        found = {sample.id: content for sample, content in zip(unknown, contents, strict=True)}
    return {sample.id: known.get(sample.id) or found[sample.id] for sample in dataset.samples}


def fingerprint(dataset: Dataset, contents: Mapping[str, str]) -> str:
    """SHA-256 over ids, labels and file contents of all samples, in hexadecimal.

    Where the data set lies, its groups and splits, and its masks are not part of it: the same images with
    the same labels have the same fingerprint. A file that cannot be read counts as such.

    Args:
        dataset: the samples.
        contents: of its files (`content_hashes`).
    """
    digest = hashlib.sha256(b"ltcam data 1\n")
    for sample in dataset.samples:
        # repr keeps the fields apart whatever characters they hold
        line = f"{sample.id!r} {sample.label!r} {contents[sample.id] or 'unreadable'}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _content(path: Path) -> str:
    try:
        return file_sha256(path)
    except (OSError, InputError):
        return ""
