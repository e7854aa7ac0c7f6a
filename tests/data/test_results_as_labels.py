"""What the writers write, read back by the layouts: the same kinds, and the same pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from ltcam.data.drawn import DrawnMask
from ltcam.data.layouts import read_dataset
from ltcam.data.layouts.annotated import Annotated
from ltcam.data.layouts.coco import read_coco
from ltcam.data.layouts.cvat import read_cvat
from ltcam.data.layouts.label_studio import read_tasks
from ltcam.data.layouts.labelme import read_labelme
from ltcam.data.truth import read_truth
from ltcam_runtime.images import read_image
from ltcam_runtime.regions import find_regions
from ltcam_runtime.results import Inspection
from ltcam_runtime.writers import ResultFacts, open_writers

CLASSES = ('cr"ack', "dent <b>&")
READERS: dict[str, Callable[[Path], Iterable[Annotated]]] = {
    "coco": lambda folder: read_coco(folder / "coco.json"),
    "cvat": lambda folder: read_cvat(folder / "cvat.xml"),
    "labelme": lambda folder: [
        read_labelme(folder / "labelme" / f"{name}.json") for name in outputs(folder).values()
    ],
    "label-studio": lambda folder: read_tasks(folder / "label-studio" / "tasks.json", of="predictions"),
}


def outputs(results: Path) -> dict[str, str]:
    """Output names by image."""
    items = json.loads((results / "predictions.json").read_text())["images"]
    return {item["image"]: item["output"] for item in items}


def inspections() -> list[Inspection]:
    rng = np.random.default_rng(7)
    found = []
    for number, share in enumerate((0.0, 0.02, 0.3, 0.55)):
        mask = rng.random((37, 53)) < share
        mask[5:20, 6:40] |= share > 0.1
        mask[9:12, 10:30] &= share < 0.1
        heatmap = rng.random(mask.shape, dtype=np.float32)
        kind = CLASSES[number % 2]
        found.append(
            Inspection(
                image=f"lot 1/täil {number} &<.png",
                size=(37, 53),
                verdict="defect" if share else "ok",
                score=0.75,
                class_scores={},
                heatmap=heatmap,
                mask=mask,
                regions=find_regions(mask, heatmap, kind),
            )
        )
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    kinds = ("coco", "cvat", "label-studio", "labelme", "yolo")
    with open_writers(folder, ResultFacts(CLASSES), kinds=kinds) as writers:
        for each in inspections():
            writers.add(each, np.zeros((*each.size, 3), np.uint8))
        writers.add_failure("broken.png", "it is empty")
    return folder


@pytest.mark.parametrize("form", READERS)
def test_pixels_and_kinds_come_back(results: Path, form: str) -> None:
    read = list(READERS[form](results))
    assert len(read) == len(inspections())
    for entry, each in zip(read, inspections(), strict=True):
        assert entry.kinds == tuple(region.class_name for region in each.regions)
        assert entry.shapes is not None
        assert np.array_equal(DrawnMask(entry.source, entry.shapes).draw(each.size), each.mask)


def test_names_come_back(results: Path) -> None:
    names = [each.image for each in inspections()]
    assert [entry.name for entry in READERS["coco"](results)] == names
    assert [entry.name for entry in READERS["cvat"](results)] == names


def test_yolo_gives_the_masks_back_beside_its_images(
    results: Path, paint: Callable[..., Path], tmp_path: Path
) -> None:
    for path in (results / "yolo").rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(results / "yolo")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    for output in outputs(results).values():
        paint(f"images/{output}.png", size=(37, 53))
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "yolo"
    found = {sample.id: sample for sample in dataset.samples}
    for each in inspections():
        sample = found[f"images/{outputs(results)[each.image]}.png"]
        assert sample.label == (each.regions[0].class_name if each.regions else "ok")
        truth = read_truth(sample, read_image(sample.path).shape[:2])
        assert np.array_equal(np.zeros(each.size, bool) if truth is None else truth, each.mask)


def test_the_interface_of_label_studio_knows_the_kinds(results: Path) -> None:
    text = (results / "label-studio" / "label_config.xml").read_text()
    assert "<Label value='cr\"ack'/>" in text
    assert '<Label value="dent &lt;b&gt;&amp;"/>' in text
    (task, *_) = json.loads((results / "label-studio" / "tasks.json").read_text())
    assert task["data"]["image"] == "/data/local-files/?d=lot%201/t%C3%A4il%200%20%26%3C.png"
