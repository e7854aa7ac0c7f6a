"""What is said of a training that was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from ltcam.runs.unfinished import Place, resumable
from ltcam_runtime.errors import Terminated


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
@pytest.mark.parametrize("finished", [False, True])
def test_finished_epochs_are_spoken_of_whenever_it_was_stopped(
    tmp_path: Path, stop: type[KeyboardInterrupt], finished: bool
) -> None:
    """While masks are chosen behind the last epoch, too."""
    out = tmp_path / "run"

    def train() -> None:
        with Place(out).taken(lambda _sentence: None) as (_, work):
            work.mkdir()
            if finished:
                (work / "last.ckpt").touch()
            raise stop

    with pytest.raises(stop) as stopped:
        train()
    assert type(stopped.value) is stop
    assert str(stopped.value) == ("what is finished is kept, continue with `resume=True`" if finished else "")
    assert resumable(out) == finished
    assert not out.exists()
