"""What all tests share: one torch thread, no model hub, tiny runs."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from ltcam.models.classifier import build_classifier, stages_of
from ltcam.models.student import STUDENT, build_student
from ltcam.models.torchvision_operators import prepare_torchvision
from ltcam.runs.folder import TrainingRecord, write_run
from ltcam.runs.run import Run
from ltcam_runtime.settings import MAP, CamSettings, VerdictSettings

torch.set_num_threads(1)
prepare_torchvision()


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test, and nothing a test calls, may switch the model hubs on."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield
    assert os.environ.get("HF_HUB_OFFLINE") == "1", "something switched HF_HUB_OFFLINE off"


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a run folder of a tiny network with random weights; fields of `Run` can be given."""

    def make(seed: int = 0, split: str = "path,label,group,split,sha256\n", **fields: Any) -> Path:
        classes = fields.pop("classes", ("ok", "dent"))
        torch.manual_seed(seed)
        student = fields.get("network") == "student"
        classifier = (build_student if student else build_classifier)("test_resnet", len(classes))
        stages = stages_of(classifier, (64, 64))
        cam = CamSettings(method=STUDENT.name, stages=stages) if student else CamSettings(stages=stages[1:3])
        run = Run(
            **{
                "classes": classes,
                "image_size": (64, 64),
                "mean": (0.5,) * 3,
                "std": (0.25,) * 3,
                "backbone": "test_resnet",
                "stages": stages,
                "maps": {MAP: cam},
                "verdict": VerdictSettings(threshold=0.0),
                "seed": seed,
                **fields,
            }
        )
        folder = tmp_path_factory.mktemp("run")
        write_run(
            folder, run, classifier, TrainingRecord(split, [{"epoch": 0, "train_loss": 0.5}], "<html></html>")
        )
        return folder

    return make


_VOID = frozenset({"meta", "img", "br", "wbr", "rect", "line", "circle", "polyline", "link"})
_INLINE = frozenset({"wbr", "strong", "span", "code"})


class Page(HTMLParser):
    """A page taken apart: its text, its tags and its pictures; it must be well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.attributes: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag
        if tag not in _INLINE:
            self.text += " "

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def assert_self_contained(self) -> None:
        """Nothing that the page's content security policy would stop, and no foreign markup."""
        assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in self.source
        assert not {"script", "link", "iframe", "object", "base", "form"} & set(self.tags)
        assert not {"href", "srcset", "action"} & set(self.attributes)
        assert not [name for name in self.attributes if name.startswith("on")]
        assert all(
            (image["src"] or "").startswith(("data:image/jpeg;base64,", "data:image/svg+xml;base64,"))
            and image["alt"]
            for image in self.images
        )
        assert not re.search(r"url\(|@import|https?://", self.source)


@pytest.fixture
def parse() -> type[Page]:
    return Page


@pytest.fixture
def evil() -> str:
    """A name that must never reach a page as it is."""
    return "<script>alert('x')</script>"


def noted(calls: list[Any], function: Callable[..., Any], word: object = None) -> Callable[..., Any]:
    """The function, but at each call it is noted what it is given, or a word."""

    def call(*given: Any, **options: Any) -> Any:
        calls.append(given if word is None else word)
        return function(*given, **options)

    return call


_counters: list[Callable[[str], None]] = []


def _opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _counters and isinstance(arguments[0], str):
        _counters[-1](arguments[0])


sys.addaudithook(_opened)


@contextmanager
def _opens_below(root: Path) -> Iterator[Counter[str]]:
    """How often each file below a folder is opened in the block, by its name from there."""
    found: Counter[str] = Counter()

    def count(path: str) -> None:
        if Path(path).is_relative_to(root) and Path(path).is_file():
            found[Path(path).relative_to(root).as_posix()] += 1

    _counters.append(count)
    try:
        yield found
    finally:
        _counters.pop()


@pytest.fixture(scope="session")
def opens_below() -> Callable[[Path], AbstractContextManager[Counter[str]]]:
    """Counts how often each file below a folder is opened in a block."""
    return _opens_below


@contextmanager
def _full_at(size: int) -> Iterator[None]:
    """In the block no file grows beyond so many bytes: a write gets a part done, as on a disk that fills."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def full_at() -> Callable[[int], AbstractContextManager[None]]:
    """No file grows beyond so many bytes in a block."""
    return _full_at
