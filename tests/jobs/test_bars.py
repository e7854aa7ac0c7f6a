from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tqdm import tqdm

from ltcam.jobs import bars
from ltcam.jobs.bars import in_notebook, progress_bars
from ltcam.jobs.execution import Execution
from ltcam.training.listener import Listener


class Eager(tqdm):  # type: ignore[misc]
    """A bar that shows every step, however fast they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(mininterval=0, **options)


def test_a_bar_says_what_is_done_how_far_and_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_SHORT_S", 0)
    monkeypatch.setattr("tqdm.tqdm", Eager)
    shown = io.StringIO()
    listener = progress_bars(shown)
    listener.begun("reading images")
    listener.progress(1, 4)
    listener.progress(4, 4)
    listener.begun("training")
    listener.progress(5, 20)
    text = shown.getvalue()
    assert "reading images:  25%" in text
    assert "1/4 [" in text
    assert "training:  25%" in text
    assert "5/20 [" in text
    assert "<" in text  # the time left


def test_what_is_over_soon_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_SHORT_S", 3600)  # however slow the machine is
    monkeypatch.setattr("tqdm.tqdm", Eager)
    shown = io.StringIO()
    listener = progress_bars(shown)
    for done in range(1, 11):
        listener.progress(done, 10)
    assert shown.getvalue() == ""


def test_sentences_stand_by_themselves() -> None:
    shown = io.StringIO()
    listener = progress_bars(shown)
    listener.say("masks of 33 images")
    listener.warn("few images")
    plan: Any = SimpleNamespace(concerns=("few lots",))
    listener.planned(plan)
    assert shown.getvalue() == "masks of 33 images\nnote: few images\nnote: few lots\n"


def test_a_notebook_shows_bars_unasked_and_a_program_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert Execution().listener == Listener()
    terminal = SimpleNamespace(get_ipython=SimpleNamespace)
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not in_notebook()
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    assert Execution().listener != Listener()
    assert "listener" not in repr(Execution())
