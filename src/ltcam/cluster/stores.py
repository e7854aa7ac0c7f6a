"""Where an archive's results go: a local folder or an object store. Whole files, each committed once.

A file is committed by one step that fails where the file is there already: a hard link to a finished temporary file
locally, a conditional put (`If-None-Match: *`) in an object store. So two workers that made the same shard cannot
double it, and a crash leaves nothing that looks like a result.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from ltcam_runtime.errors import DataError, OutputError
from ltcam_runtime.folders import why_not_written

_RETRIES: Any = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


class Store(Protocol):
    """A folder of whole files."""

    url: str

    def commit(self, name: str, content: bytes) -> bool:
        """Write a file unless it is there. Returns whether this call wrote it."""

    def names(self, prefix: str) -> set[str]:
        """Names of the files below a folder, relative to the store."""

    def read(self, name: str) -> bytes:
        """A file's content; FileNotFoundError where there is none."""


class LocalStore:
    """A folder of the file system."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, str(folder)

    def commit(self, name: str, content: bytes) -> bool:
        """Write a file unless it is there, by a link to a finished temporary file.

        Raises:
            OutputError: the file system does not take it.
        """
        file = self.folder / name
        part = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(part, file)
            except FileExistsError:
                return False
            return True
        except OSError as error:
            raise OutputError(f"{file} cannot be written: {why_not_written(error)}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()

    def names(self, prefix: str) -> set[str]:
        """Names of the finished files below a folder."""
        below = self.folder / prefix
        return {
            file.relative_to(self.folder).as_posix()
            for file in below.rglob("*")
            if file.is_file() and not file.name.startswith(".")
        }

    def read(self, name: str) -> bytes:
        """A file's content."""
        return (self.folder / name).read_bytes()


class ObjectStore:
    """A bucket or a prefix of one: S3 and what speaks its language, Google, Azure."""

    def __init__(self, url: str) -> None:
        import obstore  # noqa: PLC0415  # an extra
        from obstore.store import from_url  # noqa: PLC0415

        self.url = url.rstrip("/")
        self._obstore = obstore
        try:
            self._store = from_url(self.url, retry_config=_RETRIES)
        except (ValueError, obstore.exceptions.BaseError) as error:
            raise DataError(f"{url} cannot be opened: {_first_line(error)}") from error

    def commit(self, name: str, content: bytes) -> bool:
        """Put an object unless it is there.

        Raises:
            OutputError: the store does not take it.
        """
        try:
            self._obstore.put(self._store, name, content, mode="create", use_multipart=False)
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise OutputError(f"{self.url}/{name} cannot be written: {_first_line(error)}") from error
        return True

    def names(self, prefix: str) -> set[str]:
        """Names of the objects below a prefix."""
        try:
            pages = self._obstore.list(self._store, prefix or None)
            return {entry["path"] for page in pages for entry in page}
        except (self._obstore.exceptions.BaseError, OSError) as error:
            raise OutputError(f"{self.url} cannot be listed: {_first_line(error)}") from error

    def read(self, name: str) -> bytes:
        """An object's content."""
        try:
            return bytes(self._obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise
        except self._obstore.exceptions.BaseError as error:
            raise OutputError(f"{self.url}/{name} cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def open_store(url: str) -> Store:
    """The store that a path or URL names.

    Args:
        url: a folder, or `s3://bucket/prefix`, `gs://...`, `az://...`. Credentials and endpoint come from the
            environment, as the store's own client reads them.

    Raises:
        DataError: a URL that nothing opens.
    """
    if "://" not in url:
        return LocalStore(Path(url))
    return ObjectStore(url)
