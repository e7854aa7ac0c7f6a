"""Output folders and files that are either whole or not there.

Everything is written to a hidden temporary beside its target and renamed at the end. The name of a
temporary holds the process id, so that what a killed process left behind is found and removed by
the next one that writes to the same target.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ltcam_runtime.errors import LtcamError, OutputError
from ltcam_runtime.phrases import first_few

_REASONS = {
    errno.ENOSPC: "the disk is full; make room or choose another place",
    errno.EDQUOT: "your disk quota is used up; make room or choose another place",
    errno.EACCES: "no permission to write there; choose another place",
    errno.EPERM: "no permission to write there; choose another place",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another place",
    errno.EEXIST: "a part of that path is a file, not a folder; choose another place",  # says mkdir
    errno.EIO: "the disk reports an input/output error",
    errno.EFBIG: "the file would be larger than the file system allows",
}

_FULL_IN_OTHER_WORDS = ("no space left", "pytorchstreamwriter failed writing", "file write failed")

FILES_FILE = ".ltcam-files.json"
"""In every folder of results: which files were written with it. Only these are ever replaced."""

_NAMES_OF_OLD = frozenset(
    {"report.html", "predictions.csv", "coco.json", "cvat.xml", "yolo", "label-studio", "masks", "heatmaps"}
    | {"heatmaps-raw", "overlays", "crops", "thumbnails", "weights.safetensors", "split.csv", "history.csv"}
    | {"metrics.md", "images.csv", "compare.csv", "compare.md", "tune.csv", "tune.md", "questions.csv"}
    | {"questions.md", "gains.csv"}
)
"""What stands in folders of results that were written before there were such lists."""

_SUFFIXES_OF_OLD = frozenset(
    {
        ".png",
        ".jpg",
        ".json",
        ".jsonl",
        ".csv",
        ".html",
        ".md",
        ".txt",
        ".xml",
        ".yaml",
        ".svg",
        ".pdf",
        ".npz",
    }
    | {".safetensors"}
)
"""How the names of their files end."""

_A_MOMENT = 2.0  # seconds between the first and the last file of results that are written at the same time

# Above this many files one sync of everything takes less time than one per file.
_FSYNC_EACH = 64


@contextmanager
def output_folder(
    path: Path | str, *, marker: str | tuple[str, ...], overwrite: bool = False
) -> Iterator[Path]:
    """A folder to write results into, which becomes `path` once everything in it is written.

    One process at a time: another one is refused before its work begins. The body gets a new empty folder beside
    `path`. When it ends well, that folder is flushed to the disk and renamed to `path`; after any exception, Ctrl-C
    too, it is removed and `path` is as it was. Where `path` is a mount point, the current folder, or an empty folder
    in one that cannot be written to, the temporary lies inside it and its contents move up at the end, the markers
    last.

    Args:
        path: the folder wanted. Parents are made. A symbolic link is followed.
        marker: name(s) of files that tell a folder of such results, for example "predictions.json".
        overwrite: replace results in a folder that holds one of the markers, and nothing that was not written with
            them. Any other folder with files in it is never touched.

    Yields:
        The temporary folder.

    Raises:
        OutputError: `path` is a file, holds files and may not be replaced, is being written by another process, or
            cannot be written to; or the disk is full or the like while the body writes.
    """
    markers = (marker,) if isinstance(marker, str) else marker
    check_output_folder(path, marker=marker, overwrite=overwrite)
    with explained(path):
        target = Path(os.path.realpath(path))
        temporary, inside = _make_temporary(target)
    try:
        with _locked(temporary):
            _refuse_others(Path(path), target, temporary)
            with explained(path, temporary):
                yield temporary
            with explained(path):
                _list_files(temporary)
                _flush(temporary)
                if inside:
                    _move_up(temporary, target, markers, overwrite)
                else:
                    _move_in(temporary, target, markers, overwrite)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def check_output_folder(path: Path | str, *, marker: str | tuple[str, ...], overwrite: bool = False) -> None:
    """Refuse what `output_folder` would refuse at once. What a dead process left there is removed.

    Raises:
        OutputError: likewise.
    """
    markers = (marker,) if isinstance(marker, str) else marker
    with explained(path):
        target = Path(os.path.realpath(path))
        _clear_stale(target)
        _refuse_others(Path(path), target)
        _check_replaceable(Path(path), target, markers, overwrite)


def write_file(path: Path | str, content: bytes | str, *, durable: bool = True) -> None:
    """Write one file so that it is either whole or as it was before.

    Args:
        path: the file; its parent folders are made.
        content: bytes, or text that is written as UTF-8 with its line ends unchanged; what is no text, as in names of
            files that are none, is written with escapes.
        durable: False leaves out what takes long where very many files are written into one folder: the disk's
            confirmation, and the search for what dead processes left of this file.

    Raises:
        OutputError: the file cannot be written there.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with explained(path):
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OutputError(f"{path} is a folder; give the name of a file")
        if target.exists() and not target.is_file():  # it would be replaced
            raise OutputError(f"{path} is not a regular file; give the name of another one")
        target.parent.mkdir(parents=True, exist_ok=True)
        if durable:
            _clear_stale(target)
        temporary = target.parent / _temporary_name(target, "tmp")
        try:
            with temporary.open("xb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            _fsync(target.parent)


# ----------------------------------------------------------------------------------- beginning


def _check_replaceable(path: Path, target: Path, markers: tuple[str, ...], overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"{path} is a file, not a folder; choose another place for the results")
    if not any(target.iterdir()):
        return
    if not _holds_one(target, markers):
        names = " or ".join(markers)
        raise OutputError(
            f"{path} holds files but no {names}, so these are not results of this command and are "
            f"not replaced, not with `overwrite=True` either; choose another folder"
        )
    if not overwrite:
        raise OutputError(
            f"{path} already holds results; choose another folder, or give `overwrite=True` to replace them"
        )
    if others := _foreign(target, markers):
        raise OutputError(
            f"{path} holds what was not written with its results ({first_few(others)}), so they are not replaced; "
            "move that away, or choose another folder"
        )


def _make_temporary(target: Path) -> tuple[Path, bool]:
    """A new temporary folder, and whether it lies inside the target."""
    name = _temporary_name(target, "tmp")
    if os.path.ismount(target) or target == Path.cwd():
        place = target
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        place = target.parent
    try:
        (place / name).mkdir()
    except PermissionError:
        if place == target or not target.is_dir():
            raise
        place = target
        (place / name).mkdir()
    return place / name, place == target


def _temporary_name(target: Path, kind: str) -> str:
    return f".{target.name[:60]}-{_digest(target)}-{os.getpid()}-{secrets.token_hex(3)}.{kind}"


def _digest(target: Path) -> str:
    """Tells targets with equal beginnings apart, and machines that share a disk but no process ids."""
    return sha256(f"{socket.gethostname()}/{target.name}".encode(errors="surrogateescape")).hexdigest()[:8]


def is_being_written(path: Path | str) -> bool:
    """Whether a living process writes results that will stand there."""
    target = Path(os.path.realpath(path))
    return any(_alive(pid) for _, pid, _ in _temporaries(target))


def _clear_stale(target: Path) -> None:
    """Remove what dead processes left of this target; put back an old folder caught in mid-exchange."""
    for entry, pid, kind in _temporaries(target):
        if not _alive(pid):
            _remove_stale(entry, target, kind)


def _temporaries(target: Path) -> Iterator[tuple[Path, int, str]]:
    """What is written, or was, to become this target: path, process, kind."""
    pattern = re.compile(rf"\..*-{_digest(target)}-(\d+)-[0-9a-f]{{6}}\.(tmp|old)", re.DOTALL)
    for place in (target.parent, target):
        try:
            entries = list(place.iterdir())
        except OSError:  # not there, a file, or not readable: nothing of ours to be found
            continue
        for entry in entries:
            if match := pattern.fullmatch(entry.name):
                yield entry, int(match[1]), match[2]


@contextmanager
def _locked(temporary: Path) -> Iterator[None]:
    """Hold a temporary folder until the context ends, or the process."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_locked(temporary: Path) -> bool:
    try:
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError:  # gone meanwhile
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _refuse_others(path: Path, target: Path, own: Path | None = None) -> None:
    """Refuse a target that another living process writes: only one could have it in the end.

    Numbers of processes are given again, so a folder has to be held by the one of that number as well.
    """
    for entry, pid, kind in _temporaries(target):
        if kind != "tmp" or entry == own or not entry.is_dir() or not _alive(pid):
            continue
        if _is_locked(entry) if fcntl is not None else pid != os.getpid():
            raise OutputError(
                f"{path} is being written by another process right now ({pid}); wait until it has ended, or choose "
                "another folder"
            )


def _remove_stale(stale: Path, target: Path, kind: str) -> None:
    with suppress(OSError):
        if kind == "old" and not target.exists():
            stale.rename(target)
        elif stale.is_dir():
            shutil.rmtree(stale)
        else:
            stale.unlink()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it runs under another user, or we cannot tell
        return True
    return True


# --------------------------------------------------------------------------------------- ending


def _move_in(temporary: Path, target: Path, markers: tuple[str, ...], overwrite: bool) -> None:
    aside: Path | None = None
    if target.exists():
        if overwrite and _holds_one(target, markers):
            if others := _foreign(target, markers):
                raise _filled_meanwhile(temporary, target, target.parent, others)
            aside = target.parent / _temporary_name(target, "old")
            target.rename(aside)
        else:
            _remove_empty(target, temporary)
    try:
        temporary.rename(target)
    except BaseException:
        if aside is not None:
            aside.rename(target)
        raise
    _fsync(target.parent)
    if aside is not None:
        _keep(_foreign(aside, markers), aside, target)  # what came between the two
        shutil.rmtree(aside, ignore_errors=True)


def _keep(others: Sequence[str], old: Path, new: Path) -> None:
    for name in others:
        if not os.path.lexists(new / name):
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(new / name)


def _remove_empty(target: Path, temporary: Path) -> None:
    try:
        target.rmdir()
    except OSError as error:
        others = (
            sorted(entry.name for entry in target.iterdir()) if target.is_dir() else ["a file of that name"]
        )
        raise _filled_meanwhile(temporary, target, target.parent, others) from error


def _filled_meanwhile(temporary: Path, target: Path, place: Path, others: Sequence[str]) -> OutputError:
    """Somebody filled it while we worked: what took us hours is not thrown away for that, nor what is theirs."""
    kept = place / f"{target.name}-{os.getpid()}"
    temporary.rename(kept)
    return OutputError(
        f"{target} was filled by somebody else in the meantime ({first_few(others)}); the results are in {kept} instead"
    )


def _move_up(temporary: Path, target: Path, markers: tuple[str, ...], overwrite: bool) -> None:
    replaced = overwrite and _holds_one(target, markers)
    found = _foreign(target, markers) if replaced else sorted(entry.name for entry in target.iterdir())
    if others := [name for name in found if Path(name).parts[0] != temporary.name]:
        raise _filled_meanwhile(temporary, target, target, others)
    if replaced:
        _remove_old(target, temporary)
    for new in sorted(temporary.iterdir(), key=lambda new: new.name in markers):
        new.rename(target / new.name)
    temporary.rmdir()
    _fsync(target)


def _remove_old(target: Path, temporary: Path) -> None:
    """Remove earlier results, of which a folder that stays holds nothing else."""
    for entry in list(target.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            if entry != temporary:
                shutil.rmtree(entry)
        else:
            entry.unlink()


# ------------------------------------------------------------------------------ whose a file is


def _list_files(folder: Path) -> None:
    """Write down what belongs to the results, with the list itself."""
    names = [*_files_below(folder), FILES_FILE]
    text = json.dumps({"schema_version": 1, "files": sorted({*names})}, indent=0)
    (folder / FILES_FILE).write_text(text + "\n", encoding="ascii")


def _files_below(folder: Path) -> list[str]:
    """Files and links, relative to the folder."""
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in (*files, *links)]
    return found


def _empty_folders_below(folder: Path) -> list[str]:
    return [
        Path(place).relative_to(folder).as_posix()
        for place, folders, files in os.walk(folder)
        if not folders and not files and Path(place) != folder
    ]


def _foreign(folder: Path, markers: tuple[str, ...]) -> list[str]:
    """Files, and empty folders, in a folder of results that were not written with them, relative to it, sorted."""
    listed = _listed(folder)
    if listed is None:
        written = _time_of_marker(folder, markers)
        others = [
            name
            for name in _files_below(folder)
            if not _is_of_old(folder / name, Path(name), markers, written)
        ]
        return sorted([*others, *(f"{n}/" for n in _empty_folders_below(folder) if n not in _NAMES_OF_OLD)])
    folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
    others = [name for name in _files_below(folder) if name not in listed]
    return sorted([*others, *(f"{name}/" for name in _empty_folders_below(folder) if name not in folders)])


def _listed(folder: Path) -> frozenset[str] | None:
    """What the folder's own list names; None where there is none."""
    file = folder / FILES_FILE
    if file.is_symlink() or not file.is_file():  # a pipe or a device may never end
        return None
    try:
        names = json.loads(file.read_text(encoding="ascii"))["files"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else None


def _is_of_old(file: Path, name: Path, markers: tuple[str, ...], written: float) -> bool:
    """Whether a file was probably written with results that have no list: only if all speaks for it."""
    if name.parts[0] not in {*_NAMES_OF_OLD, *markers} or file.is_symlink():
        return False
    if len(name.parts) == 1:
        return True
    return name.suffix in _SUFFIXES_OF_OLD and file.stat().st_mtime <= written + _A_MOMENT


def _time_of_marker(folder: Path, markers: tuple[str, ...]) -> float:
    """When the results in a folder were whole, in seconds."""
    return max(
        (file.stat().st_mtime for name in markers if (file := folder / name).is_file()), default=math.inf
    )


def _holds_one(folder: Path, markers: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in markers)


def _flush(folder: Path) -> None:
    """Bring a folder's contents to the disk before its name says that it is whole."""
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    if len(files) > _FSYNC_EACH and hasattr(os, "sync"):
        os.sync()
        return
    for path in (*files, *(Path(place) for place, _, _ in os.walk(folder))):
        _fsync(path)


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that have no such thing
            raise
    finally:
        os.close(descriptor)


# --------------------------------------------------------------------------------------- errors


@contextmanager
def explained(path: Path | str, temporary: Path | None = None) -> Iterator[None]:
    """Say in a plain sentence why something could not be written to `path`: a context for what writes.

    With a temporary folder given, an error about a file elsewhere is let through: the body of an output
    folder may read and write other files, and those are not this one's trouble.
    """
    try:
        yield
    except LtcamError:
        raise
    except OSError as error:
        if temporary is not None and not _concerns(error, temporary):
            raise
        raise OutputError(f"{path} cannot be written: {why_not_written(error)}") from error
    except Exception as error:
        # Writers of other packages wrap the system's error in one of their own.
        if not any(words in str(error).lower() for words in _FULL_IN_OTHER_WORDS):
            raise
        raise OutputError(f"{path} cannot be written: {_REASONS[errno.ENOSPC]}") from error


def why_not_written(error: OSError) -> str:
    """What the system says against writing, and what to do."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


def _concerns(error: OSError, folder: Path) -> bool:
    if isinstance(error.filename, str | bytes):
        return Path(os.fsdecode(error.filename)).is_relative_to(folder)
    return error.errno in _REASONS  # an error while writing to an open file names none
