"""What a student is taught: masks of the teacher, and where nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ltcam.data.dataset import Sample
from ltcam.jobs import distilling
from ltcam.training.images import PreparedImages
from ltcam.training.listener import Listener
from ltcam_runtime.inspector import Inspected

SIZE = (32, 48)
OWN = (64, 96)


def teacher(
    masks: Mapping[str, NDArray[np.bool_] | None], scores: tuple[float, float], threshold: float
) -> Any:
    """Whoever asks is handed these masks, and these log-odds before and after a mask is filled in."""

    def inspect_files(files: Any, *, batch_size: int) -> Iterator[Inspected]:
        assert batch_size == 1
        for name, path in files:
            mask = masks[path.name]
            picture = None if mask is None else np.full((*OWN, 3), 128, np.uint8)
            inspection: Any = None if mask is None else SimpleNamespace(mask=mask)
            yield Inspected(name, picture, inspection, "" if mask is not None else "unreadable")

    network = SimpleNamespace(defect_scores=lambda images: list(scores))
    run = SimpleNamespace(image_size=SIZE, verdict=SimpleNamespace(threshold=threshold))
    return SimpleNamespace(inspect_files=inspect_files, run=run, network=network)


@pytest.fixture
def lesson_of() -> Callable[..., tuple[Any, list[Any]]]:
    """The lesson of one OK image and of defective ones with these masks."""

    def make(
        masks: Mapping[str, NDArray[np.bool_] | None],
        scores: tuple[float, float] = (2.0, -2.0),
        threshold: float = 0.5,
    ) -> tuple[Any, list[Any]]:
        names = ["ok.png", *masks]
        samples = tuple(
            Sample(name, Path(name), "ok" if name == "ok.png" else "dent", name) for name in names
        )
        images = torch.full((len(names), 3, *SIZE), 128, dtype=torch.uint8)
        labels = torch.tensor([0] + [1] * len(masks))
        steps = []
        lesson = distilling.make_lesson(
            teacher(masks, scores, threshold),
            PreparedImages(images, labels, samples, ()),
            SIZE,
            Listener(progress=lambda *step: steps.append(step)),
        )
        return lesson, steps

    return make


def bar() -> NDArray[np.bool_]:
    mask = np.zeros(OWN, bool)
    mask[20:28, 30:60] = True
    return mask


def test_an_ok_image_is_known_to_be_empty(lesson_of: Callable[..., tuple[Any, list[Any]]]) -> None:
    lesson, _ = lesson_of({"a.png": bar()})
    share, known = lesson.targets[0]
    assert not share.any()
    assert (known == 255).all()


def test_a_mask_is_drawn_at_the_students_size_with_an_edge_that_nobody_knows(
    lesson_of: Callable[..., tuple[Any, list[Any]]],
) -> None:
    lesson, _ = lesson_of({"a.png": bar()})
    share, known = lesson.targets[1]
    assert (share[10:14, 15:30] == 255).all()
    assert int((share > 0).sum()) == 4 * 15
    assert (known[10:14, 15:30] == 255).all()
    assert (known[8:10, 15:30] == 0).all()
    assert (known[12, 30:32] == 0).all()
    assert (known[:7] == 255).all(), "further away it is known that nothing is there"
    assert lesson.masked == 1


def test_a_part_of_a_pixel_is_a_part_of_a_pixel(lesson_of: Callable[..., tuple[Any, list[Any]]]) -> None:
    mask = np.zeros(OWN, bool)
    mask[21, 30:60] = True
    lesson, _ = lesson_of({"a.png": mask})
    assert (lesson.targets[1, 0, 10, 15:30] == 128).all()


@pytest.mark.parametrize("mask", [np.zeros(OWN, bool), None], ids=["missed", "unreadable"])
def test_nothing_is_known_of_a_defect_that_the_teacher_does_not_show(
    lesson_of: Callable[..., tuple[Any, list[Any]]], mask: NDArray[np.bool_] | None
) -> None:
    lesson, _ = lesson_of({"a.png": mask})
    assert not lesson.targets[1].any()
    assert lesson.masked == 0
    assert lesson.patches == ()


def test_only_what_surely_was_the_defect_is_pasted(lesson_of: Callable[..., tuple[Any, list[Any]]]) -> None:
    assert len(lesson_of({"a.png": bar()}, scores=(2.0, -2.0))[0].patches) == 1
    assert not lesson_of({"a.png": bar()}, scores=(2.0, 1.0))[0].patches, "it still looks defective without"
    assert not lesson_of({"a.png": bar()}, scores=(-1.0, -2.0))[0].patches, "it did not look defective with"
    assert len(lesson_of({"a.png": bar()}, scores=(-1.0, -4.0), threshold=0.05)[0].patches) == 1
    assert not lesson_of({"a.png": bar()}, scores=(2.0, -2.0), threshold=0.95)[0].patches


def test_progress_is_told_image_by_image(lesson_of: Callable[..., tuple[Any, list[Any]]]) -> None:
    _, steps = lesson_of({"a.png": bar(), "b.png": np.zeros(OWN, bool), "c.png": bar()})
    assert steps == [(1, 3), (2, 3), (3, 3)]
