"""Messages of libraries in the words of a command."""

from __future__ import annotations

import pytest

from ltcam_runtime.errors import in_options


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`image_size` 12: too small", "--image-size 12: too small"),
        ("start anew with `overwrite=True`", "start anew with --overwrite"),
        ("try `split=all`", "try --split all"),
        ("name it: `split='two words'`", "name it: --split 'two words'"),
        ("`weights` and `ltcam train` stay", "`weights` and `ltcam train` stay"),
        ("a ` alone, `split`", "a ` alone, --split"),
    ],
)
def test_arguments_become_options(message: str, shown: str) -> None:
    assert in_options(message, ["image_size", "overwrite", "split"]) == shown
