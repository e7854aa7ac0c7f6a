"""A data set that was scanned, with what is known of its files; handed on instead of scanned again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ltcam.data.dataset import Dataset
from ltcam.data.decoded import DecodedImages
from ltcam.data.duplicates import DuplicateGroup, find_duplicates, read_signatures
from ltcam.data.fingerprint import content_hashes, fingerprint
from ltcam.data.layouts import Reading, read_dataset
from ltcam_runtime.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class OpenData:
    """A data set that was scanned.

    Attributes:
        root: its folder.
        dataset: what is in it.
        images: reads its images; what the search for copies has decoded is not decoded again.
        reading: how it was read.
    """

    root: Path
    dataset: Dataset
    images: DecodedImages = field(default_factory=DecodedImages, repr=False)
    reading: Reading = field(default_factory=Reading)

    def __repr__(self) -> str:
        return f"OpenData({str(self.root)!r}, {self.dataset!r})"

    @classmethod
    def open(
        cls,
        root: str | Path,
        reading: Reading | str | None = None,
        *,
        one_class: bool = True,
        remembered: tuple[str, ...] = (),
    ) -> OpenData:
        """Scan a folder.

        Args:
            root: the folder, or a manifest file that ends in `.csv`, `.tsv` or `.txt`.
            reading: how to read it, or the name of its layout; None finds it out.
            one_class: whether a data set with OK images only, or defective ones only, will do.
            remembered: labels that meant OK to a run; they do here too, unless `reading` names others or this data
                set has none of them.

        Raises:
            DataError: as for `read_dataset`.
        """
        root = Path(root)
        asked = reading if isinstance(reading, Reading) else Reading(layout=reading)
        if remembered and not asked.ok:
            with suppress(DataError):  # a data set with other labels
                known = replace(asked, ok=remembered)
                return cls(root, read_dataset(root, one_class=one_class, reading=known), reading=known)
        return cls(root, read_dataset(root, one_class=one_class, reading=asked), reading=asked)

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """SHA-256 of each image by sample id; the files are read at most once."""
        return content_hashes(self.dataset, self._search[1] if "_search" in vars(self) else None)

    def with_dataset(self, dataset: Dataset) -> OpenData:
        """The same files with other groups or sides; they are not hashed again."""
        other = replace(self, dataset=dataset)
        vars(other)["hashes"] = self.hashes
        return other

    @property
    def duplicates(self) -> tuple[DuplicateGroup, ...]:
        """Images that show the same surface; looked for at most once."""
        return self._search[0]

    @cached_property
    def _search(self) -> tuple[tuple[DuplicateGroup, ...], dict[str, str]]:
        """Copies, and the hashes of the files that were read to find them."""
        found = read_signatures(self.dataset.samples, self.images)
        hashes = {name: signature.file_sha256 for name, signature in found.items()}
        return find_duplicates(self.dataset.samples, found), hashes

    @cached_property
    def fingerprint(self) -> str:
        """One hash of names, labels and contents."""
        return fingerprint(self.dataset, self.hashes)


Data = str | Path | OpenData
"""A folder of images in a known layout, a CSV manifest, or one of them that is open already."""


def opened(data: Data, *, one_class: bool, remembered: tuple[str, ...] = ()) -> OpenData:
    """The data set, scanned unless that was done.

    Args:
        data: a folder, a manifest, or an open data set.
        one_class: whether a set with images of one class only will do.
        remembered: as for `OpenData.open`.

    Raises:
        DataError: as for `read_dataset`.
    """
    if isinstance(data, OpenData):
        return data
    return OpenData.open(data, one_class=one_class, remembered=remembered)
