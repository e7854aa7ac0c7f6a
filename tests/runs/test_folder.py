from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ltcam.models.backbones import build_trunk
from ltcam.models.classifier import build_classifier
from ltcam.models.seeded import SeededClassifier
from ltcam.runs.folder import TrainingRecord, read_classifier, read_run, write_run
from ltcam.runs.inspector import Inspector
from ltcam.runs.run import (
    HISTORY_FILE,
    RUN_FILE,
    RUN_SCHEMA_VERSION,
    SPLIT_FILE,
    WEIGHTS_FILE,
    Arithmetic,
    Run,
)
from ltcam_runtime.errors import RunError
from ltcam_runtime.settings import CamSettings, KindSettings, MaskSettings, VerdictSettings


def change(folder: Path, *path: Any, value: Any) -> None:
    """Set a field of run.json, given by its path; the new value may be `...` to remove it."""
    file = folder / RUN_FILE
    values = json.loads(file.read_text())
    place = values
    for part in path[:-1]:
        place = place[part]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    file.write_text(json.dumps(values))


@pytest.fixture
def folder(make_run: Callable[..., Path]) -> Path:
    return make_run()


def test_what_is_written_is_read_again(make_run: Callable[..., Path]) -> None:
    verdict = VerdictSettings(threshold=0.25, unsure_margin=0.125, evidence="of a test")
    folder = make_run(verdict=verdict, command="ltcam train 'ä b'", data={"images": 3}, seed=7)
    run = read_run(folder)
    assert run.verdict == verdict
    assert run.command == "ltcam train 'ä b'"
    assert run.data == {"images": 3}
    assert run.schema_version == RUN_SCHEMA_VERSION
    assert Run.model_validate(json.loads(run.model_dump_json())) == run
    torch.manual_seed(7)
    expected = build_classifier("test_resnet", 2).state_dict()
    classifier = read_classifier(folder, run)
    assert all(torch.equal(expected[name], tensor) for name, tensor in classifier.state_dict().items())
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_weights_in_another_memory_layout(tmp_path: Path, folder: Path) -> None:
    run = read_run(folder)
    classifier = build_classifier("test_resnet", 2)
    nn.Module.to(classifier, memory_format=torch.channels_last)  # type: ignore[call-overload]
    write_run(tmp_path, run, classifier)
    read = read_classifier(tmp_path, run).state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in classifier.state_dict().items())


def test_history_and_split_are_tables(tmp_path: Path, folder: Path) -> None:
    history = [{"epoch": 0, "val_ap": 0.5}, {"epoch": 1, "val_ap": float("nan")}]
    split = "path,label,group,split\na.png,ok,a,train\n"
    write_run(
        tmp_path, read_run(folder), build_classifier("test_resnet", 2), TrainingRecord(split, history, "<p>")
    )
    with (tmp_path / HISTORY_FILE).open() as file:
        assert [row["val_ap"] for row in csv.DictReader(file)] == ["0.5", "nan"]
    assert (tmp_path / SPLIT_FILE).read_text() == split
    write_run(
        tmp_path, read_run(folder), build_classifier("test_resnet", 2), TrainingRecord(split, report="<p>")
    )
    assert (tmp_path / HISTORY_FILE).read_text() == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("classes",), ["ok"]),
        (("classes",), ["ok", "ok"]),
        (("classes",), ["ok", ""]),
        (("classes",), ["dent", "ok"]),
        (("classes",), "ok"),
        (("image_size",), [0, 64]),
        (("image_size",), [64]),
        (("image_size",), [4096, 4097]),
        (("image_size",), ["a", 64]),
        (("image_size",), [64.5, 64]),
        (("mean",), [0.5, 0.5]),
        (("mean",), [0.5, 0.5, float("nan")]),
        (("std",), [0.5, 0.5, 0.0]),
        (("std",), [0.5, 0.5, -1.0]),
        (("std",), [0.5, 0.5, float("inf")]),
        (("backbone",), None),
        (("stages",), None),
        (("maps", "map", "fusion"), "median"),
        (("maps", "map", "scope"), "image"),
        (("maps", "map", "reading"), "both"),
        (("maps", "map", "stages"), []),
        (("maps", "map", "stage_scale"), "log"),
        (("maps", "map", "percentile"), 101),
        (("maps", "map", "percentile"), float("nan")),
        (("maps", "map", "positive_activations"), "perhaps"),
        (("maps", "map", "extra"), 1),
        (("mask", "threshold"), "best"),
        (("mask", "threshold"), 1.5),
        (("mask", "threshold"), float("nan")),
        (("mask", "min_area_px"), 0),
        (("verdict", "threshold"), -0.1),
        (("verdict", "threshold"), float("nan")),
        (("verdict", "unsure_margin"), 0.6),
        (("seed",), "x"),
        (("versions",), {"torch": 2}),
        (("training",), []),
        (("extra",), 1),
        (("schema_version",), "one"),
        (("schema_version",), 0),
        (("classes",), ...),
        (("maps",), ...),
        (("seed",), ...),
    ],
)
def test_a_field_that_is_wrong_is_named(path: tuple[str, ...], value: Any, folder: Path) -> None:
    change(folder, *path, value=value)
    with pytest.raises(RunError, match=rf"run\.json: field '{'.'.join(path)}"):
        read_run(folder)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("maps", "map", "method"), "guess-cam", "field 'maps'.*guess-cam"),
        (("maps", "map", "method"), "student", "field 'maps'.*only students draw"),
        (("maps", "map", "stages"), ["nowhere"], "names stage 'nowhere'"),
        (("stages",), ["nowhere"], "names stage 'nowhere'"),
        (("maps", "map", "stages"), ["head"], "field 'maps'.*head.*no map"),
        (("maps", "map", "stages"), ["trunk.layer1", "trunk.layer1"], "field 'maps'.*more than once"),
        (("backbone",), "resnet81", "field 'backbone'.*resnet81"),
        (("backbone",), "test_efficientnet", "does not fit backbone test_efficientnet"),
        (("classes",), ["ok", "a", "b"], "does not fit"),
    ],
)
def test_fields_that_do_not_fit_the_network(
    path: tuple[str, ...], value: list[str] | str, words: str, folder: Path
) -> None:
    change(folder, *path, value=value)
    with pytest.raises(RunError, match=words):
        Inspector.load(folder)


def test_a_newer_schema(folder: Path) -> None:
    change(folder, "schema_version", value=RUN_SCHEMA_VERSION + 1)
    change(folder, "from_the_future", value=True)
    with pytest.raises(RunError, match=r"schema version 4, this ltcam reads up to 3; update ltcam"):
        read_run(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", b"null", b"[" * 100_000, b'{"seed": 1e999}'],
    ids=["empty", "cut", "binary", "list", "number", "null", "deep", "huge"],
)
def test_a_damaged_file(content: bytes, folder: Path) -> None:
    (folder / RUN_FILE).write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json"):
        read_run(folder)


def test_a_file_of_unlikely_length_is_not_read(folder: Path) -> None:
    (folder / RUN_FILE).write_bytes(b" " * (5 * 2**20))
    with pytest.raises(RunError, match="bytes long"):
        read_run(folder)


def test_no_folder_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"holds no run\.json; give the folder that `ltcam train` wrote"):
        read_run(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: Any, folder: Path) -> None:
    state = load_file(folder / WEIGHTS_FILE)
    name = "trunk.layer1.0.bn1.weight"
    state[name].view(-1)[0] = value
    save_file(state, folder / WEIGHTS_FILE)
    with pytest.raises(RunError, match=f"tensor '{name}' holds NaN or infinite"):
        read_classifier(folder, read_run(folder))


def test_missing_and_damaged_weights(folder: Path) -> None:
    run = read_run(folder)
    file = folder / WEIGHTS_FILE
    content = file.read_bytes()
    for bad in (b"", b"hello", content[:-10], b"\x80\x04\x95" + content):
        file.write_bytes(bad)
        with pytest.raises(RunError, match="not a readable safetensors file"):
            read_classifier(folder, run)
    file.unlink()
    with pytest.raises(RunError, match=r"holds no weights\.safetensors; the run folder is incomplete"):
        read_classifier(folder, run)


def test_a_tensor_too_few_or_too_many(folder: Path) -> None:
    run = read_run(folder)
    state = load_file(folder / WEIGHTS_FILE)
    save_file({**state, "more": torch.zeros(1)}, folder / WEIGHTS_FILE)
    with pytest.raises(RunError, match=r"does not fit backbone test_resnet.*more"):
        read_classifier(folder, run)
    del state["head.bias"]
    save_file(state, folder / WEIGHTS_FILE)
    with pytest.raises(RunError, match=r"does not fit backbone test_resnet.*head\.bias"):
        read_classifier(folder, run)


def test_half_precision_weights_are_read(folder: Path) -> None:
    state = load_file(folder / WEIGHTS_FILE)
    halves = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    save_file(halves, folder / WEIGHTS_FILE)
    classifier = read_classifier(folder, read_run(folder))
    assert {t.dtype for t in classifier.parameters()} == {torch.float32}


def test_a_run_of_the_first_schema(folder: Path) -> None:
    """It had one map, `cam`, and kept the arithmetic among the evidence."""
    file = folder / RUN_FILE
    expected = read_run(folder)
    values = json.loads(file.read_text())
    values["schema_version"] = 1
    values["cam"] = values.pop("maps")["map"]
    for name in ("map", "kinds", "kind_share", "arithmetic"):
        del values[name]
    values["evidence"] |= {"bfloat16": True, "channels_last": True, "arithmetic": "measured"}
    file.write_text(json.dumps(values))
    found = read_run(folder)
    assert found.arithmetic == Arithmetic(bfloat16=True, channels_last=True, reason="measured")
    assert found.model_copy(update={"arithmetic": expected.arithmetic}) == expected


@pytest.mark.parametrize("version", [1, 2])
def test_earlier_schemas_knew_no_white_of_sixteen_bits(folder: Path, version: int) -> None:
    """They wrote 65535 where the training had other images, too."""
    for written, found in ((65535, None), (4095, 4095), (..., None)):
        values = json.loads((folder / RUN_FILE).read_text()) | {"schema_version": version, "white": written}
        if version == 1:
            values.pop("arithmetic", None)
        (folder / RUN_FILE).write_text(json.dumps({n: v for n, v in values.items() if v is not ...}))
        assert read_run(folder).white == found
    change(folder, "schema_version", value=RUN_SCHEMA_VERSION)
    change(folder, "white", value=65535)
    assert read_run(folder).white == 65535


def test_maps_and_kinds(make_run: Callable[..., Path]) -> None:
    stages = read_run(make_run()).stages
    maps = {
        "map": CamSettings(stages=stages[1:3]),
        "deep": CamSettings(method="grad-cam", stages=stages[-1:]),
    }
    kinds = {"stain": KindSettings(map="deep", mask=MaskSettings(threshold=0.4))}
    folder = make_run(classes=("ok", "dent", "stain"), maps=maps, kinds=kinds)
    run = read_run(folder)
    assert (run.maps, run.kinds) == (maps, kinds)
    inspector = Inspector.load(folder, device="cpu")
    images = [np.random.default_rng(n).integers(0, 255, (64, 64, 3), np.uint8) for n in range(2)]
    both = inspector.network.respond(images)
    for name in maps:
        alone = inspector.network.respond(images, maps=[name])
        assert np.allclose(both.heatmaps[name], alone.heatmaps[name], atol=1e-6)
        assert np.allclose(both.probabilities, alone.probabilities, atol=1e-6)
    assert inspector.network.respond(images, maps=()).heatmaps == {}
    assert np.allclose(
        inspector.network.respond(images, maps=()).probabilities, both.probabilities, atol=1e-6
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"map": "deep"}, "there is no map 'deep'; there are map"),
        ({"kinds": {"dent": {"map": "deep"}}}, "there is no map 'deep'"),
        ({"kinds": {"lamp": {}}}, "kinds: lamp: no such class"),
        ({"maps": {}}, "field 'maps'"),
    ],
)
def test_names_that_nothing_has(folder: Path, fields: dict[str, Any], said: str) -> None:
    for name, value in fields.items():
        change(folder, name, value=value)
    with pytest.raises(RunError, match=said):
        read_run(folder)


def test_settings_and_weights_are_tied(folder: Path) -> None:
    run = read_run(folder)
    assert run.weights_sha256 == sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    values = json.loads((folder / RUN_FILE).read_text())
    (folder / RUN_FILE).write_text(json.dumps(values))  # laid out in another way: the same settings
    Inspector.load(folder, device="cpu")
    changes: tuple[Callable[[], None], ...] = (
        lambda: change(folder, "classes", value=["ok", "scratch"]),
        lambda: change(folder, "verdict", "threshold", value=0.9),
        lambda: change(folder, "settings_sha256", value=...),
        lambda: change(folder, "weights_sha256", value=...),
    )
    for change_it in changes:
        before = (folder / RUN_FILE).read_text()
        change_it()
        with pytest.raises(RunError, match=r"run\.json was changed after the training.*trust_changed_run"):
            Inspector.load(folder, device="cpu")
        Inspector.load(folder, device="cpu", trust_changed_run=True)
        (folder / RUN_FILE).write_text(before)
    Inspector.load(folder, device="cpu")


@pytest.mark.parametrize("bit", [1, 5, 7])
def test_a_flipped_bit_of_the_weights(folder: Path, bit: int) -> None:
    """Of the exponent, say: the network would still run."""
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-2] ^= 1 << bit
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        Inspector.load(folder, device="cpu")


def test_weights_of_another_training(folder: Path, make_run: Callable[..., Path]) -> None:
    shutil.copy(make_run(seed=9) / WEIGHTS_FILE, folder / WEIGHTS_FILE)
    with pytest.raises(RunError, match=r"weights\.safetensors was changed after the training"):
        Inspector.load(folder, device="cpu")
    assert Inspector.load(folder, device="cpu", trust_changed_run=True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda tensor: tensor.to(torch.int32), "torch.int32; expected torch.float32"),
        (torch.zeros_like, "is all zero"),
    ],
)
def test_numbers_that_no_training_ends_with(
    folder: Path, spoil: Callable[[Tensor], Tensor], said: str
) -> None:
    state = load_file(folder / WEIGHTS_FILE)
    state["head.weight"] = spoil(state["head.weight"])
    save_file(state, folder / WEIGHTS_FILE)
    with pytest.raises(RunError, match=f"head.weight.*{said}"):
        Inspector.load(folder, device="cpu", trust_changed_run=True)


@pytest.mark.parametrize(("zero", "other"), [("head", "peaks"), ("peaks", "head")])
def test_a_network_with_seed_maps_answers_by_one_of_two(
    zero: str, other: str, make_run: Callable[..., Path]
) -> None:
    """Without training the head is zero, and with it the peaks may be."""
    torch.manual_seed(0)
    seeded = SeededClassifier(build_trunk("test_resnet", "pooled"), 2, ("trunk.layer1",), (32,))
    nn.init.normal_(seeded.get_parameter(f"{other}.weight"))
    nn.init.zeros_(seeded.get_parameter(f"{zero}.weight"))
    folder = make_run()
    run = read_run(folder).model_copy(update={"taps": ("trunk.layer1",)})
    write_run(folder, run, seeded)
    read = read_classifier(folder, read_run(folder)).state_dict()
    assert all(torch.equal(tensor, read[name]) for name, tensor in seeded.state_dict().items())
    nn.init.zeros_(seeded.get_parameter(f"{other}.weight"))
    write_run(folder, run, seeded)
    with pytest.raises(RunError, match=r"'head.weight' and 'peaks.weight' is all zero"):
        read_classifier(folder, read_run(folder))


def test_seed_maps_of_parts(make_run: Callable[..., Path]) -> None:
    """Their number is that of the weights, and a map that these do not hold is refused."""
    torch.manual_seed(0)
    seeded = SeededClassifier(build_trunk("test_resnet", "pooled"), 2, ("trunk.layer1",), (32,), parts=2)
    for part in ("head.weight", "seed.convolutions.0.weight"):
        nn.init.normal_(seeded.get_parameter(part))
    maps = {f"seed {n}": CamSettings(method="seed", kind=n, stages=("trunk.layer1",)) for n in (1, 2, 3)}
    parts = [{"sign": "seed 2", "map": "seed 2"}, {"sign": "seed 3", "map": "seed 1"}]
    folder = make_run(maps=maps, map="seed 1", kinds={"dent": {"map": "seed 1", "parts": parts}})
    run = read_run(folder).model_copy(update={"taps": ("trunk.layer1",)})
    write_run(folder, run, seeded)
    inspector = Inspector.load(folder, device="cpu")
    assert inspector.settings.maps == ("seed 2", "seed 3", "seed 1")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert inspector.inspect(image).heatmap.any()
    change(folder, "maps", "seed 3", "kind", value=4)
    with pytest.raises(RunError, match="`kind` 4: there are 3 seed maps"):
        Inspector.load(folder, device="cpu", trust_changed_run=True)
    change(folder, "kinds", "dent", "parts", 0, "sign", value="seed 9")
    with pytest.raises(RunError, match="there is no map 'seed 9'"):
        read_run(folder)


@pytest.mark.parametrize("name", [RUN_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize(
    ("code", "said"), [(errno.EACCES, "no permission to read it"), (errno.EIO, "cannot be read")]
)
def test_what_may_not_be_read_is_neither_missing_nor_damaged(
    make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str, code: int, said: str
) -> None:
    folder = make_run()
    whole = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == name:
            raise OSError(code, os.strerror(code), str(path))
        return whole(path, *args, **options)

    run = read_run(folder)
    monkeypatch.setattr(Path, "open", refuse)  # root may read everything, so modes would not do
    with pytest.raises(RunError, match=rf"{name}.*{said}"):
        read_run(folder) if name == RUN_FILE else read_classifier(folder, run)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_runs_that_others_have_closed(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    run = read_run(folder)
    (folder / WEIGHTS_FILE).chmod(0)
    with pytest.raises(RunError, match=f"{WEIGHTS_FILE}: no permission to read it"):
        read_classifier(folder, run)
    folder.chmod(0)
    try:
        with pytest.raises(RunError, match=f"{RUN_FILE}: no permission to read it"):
            read_run(folder)
    finally:
        folder.chmod(0o700)
