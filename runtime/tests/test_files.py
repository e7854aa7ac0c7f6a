import errno
import hashlib
import os
from pathlib import Path

import pytest

from ltcam_runtime.errors import InputError
from ltcam_runtime.files import file_sha256, why_not_read


def test_the_reason_is_the_systems_or_else_the_errors() -> None:
    """Errors that a library makes have no words of the system."""
    assert (
        why_not_read(OSError(errno.EIO, "Input/output error", "a.csv"))
        == "cannot be read (Input/output error)"
    )
    assert why_not_read(OSError("the share is gone")) == "cannot be read (the share is gone)"


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"weights")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        file_sha256(tmp_path / "b")


def test_a_pipe_has_no_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="not a regular file"):
        file_sha256(tmp_path / "weights.safetensors")
