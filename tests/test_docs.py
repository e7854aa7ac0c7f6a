"""The documentation says what is so: its Python runs, its commands parse, its tables are complete."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import ltcam
import ltcam.cam
from ltcam.cam.methods import list_methods, registry
from ltcam.data.layouts.registry import LAYOUTS
from ltcam.evaluation.evaluate import Prediction, make_histograms, record_image
from ltcam.evaluation.summary import SummarySettings, summarise
from ltcam.models.classifier import build_classifier, stages_of
from ltcam.runs.folder import TrainingRecord, write_run
from ltcam.runs.run import Run
from ltcam.synth import SynthesisSettings, synthesise
from ltcam_runtime.results import Inspection, Region
from ltcam_runtime.settings import MAP, CamSettings, MaskSettings, VerdictSettings
from ltcam_runtime.writers.csv import COLUMNS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "runtime").glob("*.md")])


_BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.M | re.S
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_BACKBONE, _SIZE = "test_resnet", (64, 96)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """(file it is to be put into or "", code) of each block."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(match["file"] or "", match["code"]) for match in found if match["language"] == language]


def words_of(page: str) -> set[str]:
    """Everything between backticks, taken apart into names."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return set(re.findall(r"[\w+-]+", " ".join(re.findall(r"`([^`\n]+)`", text))))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --------------------------------------------------------------------------- examples in Python


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: photos, a run, part.png."""
    root = tmp_path_factory.mktemp("docs")
    synthesise(
        root / "photos",
        SynthesisSettings(
            surfaces=("ceramic",), images_per_surface=4, defect_share=0.5, size=(96, 96), seed=1
        ),
    )
    shutil.copy(next((root / "photos" / "good").rglob("*.png")), root / "part.png")
    torch.manual_seed(0)
    classifier = build_classifier(_BACKBONE, 2)
    stages = stages_of(classifier, _SIZE)
    run = Run(
        classes=("ok", "scratch"),
        image_size=_SIZE,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        backbone=_BACKBONE,
        stages=stages,
        maps={MAP: CamSettings(stages=stages)},
        verdict=VerdictSettings(threshold=0.0),
        seed=0,
    )
    (root / "run").mkdir()
    write_run(root / "run", run, classifier, TrainingRecord("path,label,group,split\n"))
    return root


@pytest.fixture
def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 4), (4, 4), (4, 6), (6, 6), (6, 8)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_python_examples_run(
    page: Path,
    workspace: Path,
    small_network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(registry, "_METHODS", {method.name: method for method in list_methods()})
    names: dict[str, Any] = {"model": small_network, "images": torch.rand(2, 3, 64, 96)}
    for file, code in blocks(page, "python"):
        if not file:
            exec(compile(code, name_of(page), "exec"), names)
    heatmaps = names.get("heatmaps")
    if heatmaps is not None:
        assert heatmaps.shape == (2, 64, 96)
        assert torch.isfinite(heatmaps).all()
    if "inspection" in names:
        assert isinstance(names["inspection"], Inspection)


def test_own_method_works_on_the_command_line(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / "how-to" / "own-method.md"
    code = blocks(page, "python")
    monkeypatch.setattr(registry, "_METHODS", {method.name: method for method in list_methods()})
    (tmp_path / "my_method.py").write_text(code[0][1])
    ((file, content),) = [block for block in code if block[0]]
    (tmp_path / file).write_text(content)
    (line,) = re.findall(r"^    python (my_ltcam\.py .*)$", page.read_text(), re.M)
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copytree(workspace / "photos", tmp_path / "photos")
    shutil.copytree(workspace / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(tmp_path / file), run_name="__main__")
    monkeypatch.delitem(sys.modules, "my_method")
    assert left.value.code == 0
    settings = json.loads((tmp_path / "results" / "predictions.json").read_text())["settings"]
    assert settings["cam"]["method"] == "positive-grad-cam"


# ------------------------------------------------------------------------------------- commands


def documented_commands() -> list[tuple[str, str]]:
    lines = []
    for page in PAGES:
        for _, code in blocks(page, "bash"):
            lines += [(name_of(page), line) for line in code.splitlines() if line.startswith("ltcam ")]
    return lines


@pytest.mark.parametrize(("page", "line"), documented_commands(), ids=lambda value: value)
def test_documented_command_is_understood(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ltcam.cli.config.options_of", lambda _file, _names: {})  # there is no such file here
    words = shlex.split(line, comments=True)[1:]
    known = script("make_reference").commands()
    name = " ".join(words[:2]) if " ".join(words[:2]) in known else words[0]
    given = words[len(name.split()) :]
    name = name if name in known else "archive judge"  # what `ltcam archive` does without another word
    known[name].make_context(f"ltcam {name}", given)  # raises a usage error for what it does not take


def test_a_wrong_option_would_be_found() -> None:
    command = script("make_reference").commands()["predict"]
    with pytest.raises(Exception, match="no-such-option"):
        command.make_context("ltcam predict", ["run", "photos", "--out", "x", "--no-such-option"])


def test_command_reference_is_not_stale() -> None:
    written = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    assert written == script("make_reference").reference(), "run python docs/make_reference.py"


def test_command_reference_names_every_option_and_no_other() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ltcam (.+?)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    known = script("make_reference").commands()
    assert set(sections) == set(known)
    for name, command in known.items():
        named = set(
            re.findall(r"--[a-z0-9-]+", " ".join(re.findall(r"^\| `(-.*?)` \|", sections[name], re.M)))
        )
        options = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
        assert named == {flag for flag in options if flag.startswith("--")}


def test_every_command_has_an_example_outside_the_reference() -> None:
    shown = [line for page, line in documented_commands() if page != "docs/reference/cli.md"]
    for name in script("make_reference").commands():
        assert any(line.startswith(f"ltcam {name} ") for line in shown), name


def test_tables_of_the_reproduction_are_those_of_the_committed_numbers() -> None:
    page = (DOCS / "reproduction.md").read_text(encoding="utf-8")
    assert page == script("make_reproduction").filled(page), "run python docs/make_reproduction.py"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = set(re.findall(r"`make (\w+)`|^make (\w+)", page.read_text(), re.M))
        assert {first or second for first, second in named} <= targets, page


# --------------------------------------------------------------------------------------- tables


def test_run_folder_page_names_every_field() -> None:
    words = words_of("reference/run-folder.md")
    for model in (Run, CamSettings, MaskSettings, VerdictSettings):
        assert set(model.model_fields) <= words
    assert {method.name for method in list_methods()} <= words


def test_results_page_names_every_column_and_key() -> None:
    words = words_of("reference/outputs.md")
    assert set(COLUMNS) <= words
    region = Region("scratch", (0, 0, 1, 1), 1, 1.0, 1.4, 1.0)
    empty = np.zeros((2, 2))
    inspection = Inspection(
        "a", (2, 2), "ok", 0.1, {}, empty.astype(np.float32), empty.astype(bool), (region,)
    )
    assert set(inspection.to_json()) | set(region.to_json()) <= words


def test_results_page_names_every_metric() -> None:
    truth = np.zeros((16, 16), bool)
    truth[4:9, 4:9] = True
    histograms = make_histograms()
    records = []
    for image, label in (("a", "ok"), ("b", "pit"), ("c", "crack")):
        scores = {"ok": 0.2, "pit": 0.5, "crack": 0.3}
        prediction = Prediction(truth, [(4, 4, 5, 5)], "defect", 0.8, scores)
        mask = None if label == "ok" else truth
        records.append(record_image(image, label, prediction, mask))
        histograms.add(records[-1], truth.astype(np.float32), mask)
    metrics = summarise(records, histograms, SummarySettings(threshold=0.5, bootstrap=2)).to_json()
    names = {"pit", "crack"}  # keys that are class names
    assert keys_of(metrics) - names <= words_of("reference/outputs.md")


def keys_of(value: Any) -> set[str]:
    if not isinstance(value, dict):
        return set()
    # "0.5" is taken apart like the words of a page
    own = set(re.findall(r"[\w+-]+", " ".join(value)))
    return own.union(*(keys_of(each) for each in value.values()))


def test_python_page_names_everything_public() -> None:
    words = words_of("reference/python.md")
    assert {*ltcam.__all__, *ltcam.cam.__all__} <= words


def test_layout_page_names_every_layout() -> None:
    assert set(LAYOUTS) <= words_of("how-to/data-layouts.md")


# ----------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_place_of_one_machine(page: Path) -> None:
    assert not re.search(r"(?<![\w.])/(work|home|root|tmp|mnt)/", page.read_text(encoding="utf-8"))


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/-]+\.md", text))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "results" not in path.parts}
    assert named == pages


def test_the_site_loads_nothing_from_elsewhere() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["highlightjs"] is False
    assert not {"extra_css", "extra_javascript"} & set(settings)


def test_pictures_are_part_of_the_site() -> None:
    """What mkdocs leaves out of the site can be linked to in the repository, but not shown on a page."""
    shown = [
        link for page in PAGES for link in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text("utf-8"))
    ]
    assert shown
    assert not [link for link in shown if "results/" in link]


@pytest.mark.parametrize("picture", sorted((DOCS / "images").rglob("*.*")), ids=lambda path: path.name)
def test_pictures_are_small_and_used(picture: Path) -> None:
    assert picture.stat().st_size < 200_000
    with Image.open(picture) as image:
        image.load()
    assert any(picture.name in page.read_text(encoding="utf-8") for page in PAGES)


def test_picture_script_draws(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = script("pictures")
    image = next((workspace / "photos" / "masks").rglob("*.png"))
    name = image.relative_to(workspace / "photos" / "masks").as_posix()
    for constant in ("FLOW", "OVERLAY", "STAGES"):
        monkeypatch.setattr(pictures, constant, name)
    monkeypatch.setattr(pictures, "GALLERY", (name, name))
    inspector = ltcam.Inspector.load(workspace / "run", device="cpu")
    assert len(pictures.flow(inspector, workspace / "photos").axes) == 1 + 5 + 5
    assert len(pictures.gallery(inspector, workspace / "photos").axes) == 2 * 4
    assert len(pictures.truncation(inspector, workspace / "photos").axes) == 3 * 6
    overlay = pictures.overlay(inspector, workspace / "photos")
    assert overlay.dtype == np.uint8
    assert cv2.cvtColor(overlay, cv2.COLOR_RGB2GRAY).std() > 0
    pictures.plt.close("all")


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert str(citation["version"]) == project["version"] == ltcam.__version__
    assert citation["license"] == project["license"]
    assert re.search(rf"^## \[{re.escape(ltcam.__version__)}\]", changes, re.M)
    assert citation["references"][0]["title"].startswith("Truncated and integrated class activation maps")


def messages() -> list[str]:
    """The messages that the page of messages explains."""
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)`", page, re.M)


@pytest.fixture(scope="module")
def source() -> str:
    """All sources, strings that go over lines put together."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "runtime" / "src").rglob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r"\"\s*\n\s*f?\"", "", text)


@pytest.mark.parametrize("message", messages())
def test_explained_messages_exist(message: str, source: str) -> None:
    for piece in message.split("..."):
        assert piece.strip() in source, piece
