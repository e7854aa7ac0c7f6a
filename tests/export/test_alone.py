"""The runtime where nothing else is installed: what it declares to need, and no torch."""

from __future__ import annotations

import importlib.metadata as packages
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from packaging.requirements import Requirement
from PIL import Image

RUNTIME = Path(__file__).parents[2] / "runtime"


def link(requirement: Requirement, site: Path, seen: set[str]) -> None:
    """A distribution that is installed here, with all that it needs, as links in a folder."""
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    if name in seen:
        return
    seen.add(name)
    distribution = packages.distribution(name)
    tops = {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}
    for top in tops:
        source = Path(str(distribution.locate_file(top)))
        if source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)
    for text in distribution.requires or ():
        needed = Requirement(text)
        if needed.marker is None or any(
            needed.marker.evaluate({"extra": extra}) for extra in (*requirement.extras, "")
        ):
            link(needed, site, seen)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages: ltcam-runtime as its wheel has it, and what its metadata ask for with the extra `onnx`."""
    site = tmp_path_factory.mktemp("alone") / "site"
    source = shutil.copytree(
        RUNTIME,
        site.parent / "source",
        ignore=shutil.ignore_patterns("build", "*.egg-info", "tests", "__pycache__"),
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--target", str(site), str(source)], check=True, timeout=120)
    file = next(site.glob("ltcam_runtime-*.dist-info")) / "METADATA"
    for line in file.read_text().splitlines():
        if line.startswith("Requires-Dist: "):
            needed = Requirement(line.removeprefix("Requires-Dist: "))
            if needed.marker is None or needed.marker.evaluate({"extra": "onnx"}):
                link(needed, site, set())
    return site


def python(site: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python that has these packages only, an empty home, and no sign of a test machine."""
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site),
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-S", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_exported_inspector_runs_where_torch_is_absent(
    site: Path, part_file: Path, paint: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    for index, pixels in enumerate(paint(2, (80, 120))):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    absent = python(site, tmp_path / "home", "-c", "import torch")
    assert "No module named 'torch'" in absent.stderr
    images, out = tmp_path / "images", tmp_path / "out"
    done = python(
        site,
        tmp_path / "home",
        "-m",
        "ltcam_runtime",
        str(part_file),
        str(images),
        "--out",
        str(out),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inspected"] == 2
    assert len(list((out / "masks").iterdir())) == 2
    assert (out / "report.html").is_file()
    assert not list((tmp_path / "home").rglob("*")), "something was written into the home folder"


def test_nothing_is_reported_to_anybody(site: Path, part_file: Path, tmp_path: Path) -> None:
    """Neither a file in the home folder, nor a socket to another machine (seen by strace, where it is there)."""
    strace = shutil.which("strace")
    code = (
        "import sys; from ltcam_runtime import Inspector; from ltcam_runtime.graph_networks import EngineSettings\n"
        "import numpy as np\n"
        f"i = Inspector.load({str(part_file)!r}, engine=EngineSettings(sys.argv[1]), check=False)\n"
        "print(i.inspect(np.zeros((64, 96, 3), np.uint8)).verdict)\n"
    )
    link(Requirement("openvino"), site, {"openvino-telemetry"} if strace is None else set())
    for engine in ("onnxruntime", "openvino"):
        home, log = tmp_path / f"home-{engine}", tmp_path / f"{engine}.log"
        home.mkdir()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(home)}
        command = [sys.executable, "-S", "-c", code, engine]
        if strace is not None:
            command = [strace, "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log), *command]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() in {"ok", "unsure", "defect"}
        assert not list(home.rglob("*"))
        if strace is not None:
            assert "AF_INET" not in log.read_text()


def test_a_run_and_its_file_write_the_same_results(
    part_file: Path, run_folder: Path, paint: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    from ltcam_runtime.cli import main  # noqa: PLC0415

    images = tmp_path / "images"
    images.mkdir()
    for index, pixels in enumerate(paint(3, (80, 120))):
        Image.fromarray(pixels).save(images / f"{index}.png")
    (images / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as left:
        main([str(part_file), str(images), "--out", str(tmp_path / "part"), "--no-check", "--always-maps"])
    assert left.value.code == 1
    from ltcam.cli.main import run  # noqa: PLC0415

    with pytest.raises(SystemExit) as left:
        run(["predict", str(run_folder), str(images), "--out", str(tmp_path / "run")])
    assert left.value.code == 1
    names = {path.relative_to(tmp_path / "run") for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {
        path.relative_to(tmp_path / "part") for path in (tmp_path / "part").rglob("*") if path.is_file()
    } == names
    part, own = (json.loads((tmp_path / kind / "predictions.json").read_text()) for kind in ("part", "run"))
    assert part["settings"] == {**own["settings"], "run": str(part_file)}
    for one, other in zip(part["images"], own["images"], strict=True):
        assert one["verdict"] == other["verdict"]
        assert [region["box"] for region in one["regions"]] == [region["box"] for region in other["regions"]]
    for mask in (tmp_path / "run" / "masks").iterdir():
        same = np.asarray(Image.open(mask)) == np.asarray(Image.open(tmp_path / "part" / "masks" / mask.name))
        assert same.mean() >= 0.999


def test_predict_takes_the_file_in_place_of_a_run(
    part_file: Path, run_folder: Path, paint: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    from ltcam.jobs.execution import Execution  # noqa: PLC0415
    from ltcam.jobs.predicting import predict  # noqa: PLC0415

    for index, pixels in enumerate(paint(2, (80, 120))):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    found = [
        predict(source, tmp_path / "images", tmp_path / source.name, execution=Execution(cascade=True))
        for source in (part_file, run_folder)
    ]
    assert found[0].verdicts == found[1].verdicts
    assert found[0].inspected == found[1].inspected == 2
