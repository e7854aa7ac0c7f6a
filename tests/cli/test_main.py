from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Call

import ltcam as package
from ltcam.cli.commands import load
from ltcam.cli.console import counts_line, parse_size
from ltcam.cli.main import COMMANDS
from ltcam.cli.places import free_place
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.folders import output_folder

HELP_OF_ALL = """
import sys
from ltcam.cli.main import COMMANDS, run
for page in ([], *([name] for name in COMMANDS), ["data", "check"], ["data", "synth"]):
    try:
        run([*page, "--help"])
    except SystemExit as left:
        assert not left.code, (page, left.code)
heavy = {"torch", "lightning", "timm", "matplotlib", "scipy", "sklearn", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_of_every_command_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", HELP_OF_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"ltcam {name}" in done.stdout
    assert "--resume" in done.stdout
    assert "--percentile" in done.stdout


def test_first_help_page_imports_neither_typer_nor_numpy() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "ltcam.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "ltcam.cli.main" in imported
    assert not {"torch", "numpy", "typer", "rich", "pydantic"} & imported


def test_script_is_installed() -> None:
    script = Path(sys.executable).with_name("ltcam")
    if not script.is_file():
        pytest.skip("the package is not installed with its script")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"ltcam {package.__version__}\n")


def test_first_words(ltcam: Call) -> None:
    for words in ([], ["--help"], ["-h"], ["--debug"], ["--debug", "--help"]):
        result = ltcam(*words)
        assert result.code == 0
        assert all(name in result.out for name in COMMANDS)
    result = ltcam("inspect")
    assert result.code == 2
    assert "'inspect'" in result.err
    assert "predict" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ["predict"],
        ["predict", "run", "x.png"],
        ["predict", "run", "x.png", "--out", "o", "--batch-size", "0"],
        ["predict", "run", "x.png", "--out", "o", "--verdict-threshold", "2"],
        ["predict", "run", "x.png", "--out", "o", "--percentile", "many"],
        ["predict", "run", "x.png", "--out", "o", "--threshold", "low"],
        ["train", "x", "--out", "o", "--epochs", "0"],
        ["train", "x", "--out", "o", "--epochs", "few"],
        ["train", "x", "--out", "o", "--image-size", "64"],
        ["train", "x", "--out", "o", "--learning-rate", "nan"],
        ["train", "x", "--out", "o", "--precision", "float8"],
        ["evaluate", "run", "x", "--out", "o", "--bootstrap", "0"],
        ["data", "synth", "o", "--surfaces", "wood"],
        ["data", "synth", "o", "--image-size", "8x8"],
        ["data", "nosuch"],
    ],
)
def test_wrong_options_are_named(
    ltcam: Call, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ltcam(*words)
    assert result.code == 2
    assert "Traceback" not in result.err
    option = next((word for word in reversed(words) if word.startswith("--") and word != "--out"), None)
    if option and words[0] != "data":
        assert option in result.err
    assert list(tmp_path.iterdir()) == []


def test_traceback_only_with_debug(ltcam: Call, tmp_path: Path) -> None:
    words = ["data", "check", tmp_path / "nowhere"]
    plain, debug = ltcam(*words), ltcam("--debug", *words)
    assert plain.code == debug.code == 2
    assert "there is no such folder" in plain.err
    assert len(plain.err.splitlines()) == 1
    assert "Traceback" in debug.err
    assert "DataError" in debug.err
    assert plain.err in debug.err
    assert "Traceback" not in ltcam(*words).err  # is not remembered


def test_a_fault_of_ours_is_told_in_one_line(
    ltcam: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("ltcam.data.opened.read_dataset", broken)
    result = ltcam("data", "check", tmp_path)
    assert result.code == 2
    assert "unexpected ZeroDivisionError: by zero" in result.err
    assert "--debug" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in ltcam("data", "check", tmp_path, "--debug").err


def test_sizes() -> None:
    assert parse_size("640x256") == (640, 256)
    assert parse_size("640 × 256") == (640, 256)
    for text in ("640", "640x", "x", "15x64", "64x9000", "1e3x64", "-64x64", "٦٤xx64"):
        with pytest.raises(SettingsError, match="`image_size`"):
            parse_size(text)


# ----------------------------------------------------------------------------- comfort


def test_what_was_meant(ltcam: Call) -> None:
    for typed, meant in (
        ("prdict", "predict"),
        ("inspect", "predict"),
        ("check", "data check"),
        ("eval", "evaluate"),
    ):
        result = ltcam(typed)
        assert result.code == 2
        assert f"Did you mean {meant}?" in result.err
    assert "Did you mean" not in ltcam("xyzzy").err
    assert "--epochs" in ltcam("train", "x", "--epoch", "3").err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_option(ltcam: Call, name: str) -> None:
    result = ltcam(name, "-h")
    assert result.code == 0
    assert "Usage: ltcam " in result.out


def test_every_option_has_a_group_and_most_commands_an_example() -> None:
    for name in COMMANDS:
        command = load(name, COMMANDS[name][0])
        for each in [command, *getattr(command, "commands", {}).values()]:
            groups = {str(p.name): p.rich_help_panel for p in each.params if p.param_type_name == "option"}
            if name in {"train", "distill", "predict", "evaluate", "data"}:
                assert "Other" not in groups.values(), groups
    assert str(load("predict", COMMANDS["predict"][0]).epilog).startswith("Example: ltcam predict ")


def test_results_go_to_the_next_free_place(tmp_path: Path) -> None:
    with free_place("train", tmp_path / "runs") as first:
        assert first == tmp_path / "runs" / "train"
    assert not (tmp_path / "runs").exists()
    (tmp_path / "train").mkdir()
    (tmp_path / "train-2").mkdir()
    with free_place("train", tmp_path) as third:
        assert third == tmp_path / "train-3"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train", "train-2"]


_TAKES_A_PLACE = """
import sys
from pathlib import Path
from ltcam.cli.places import free_place
with free_place("train", Path(sys.argv[1])) as place:
    print(place.name, flush=True)
    sys.stdin.read()
"""


def test_nobody_else_gets_a_place_that_is_taken(tmp_path: Path) -> None:
    """Of several commands that begin at once each has its own, and a dead one leaves it."""
    runs = tmp_path / "runs"
    words = [sys.executable, "-c", _TAKES_A_PLACE, str(runs)]
    others = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    places = [other.stdout.readline().strip() for other in others if other.stdout]
    assert sorted(places) == ["train", "train-2", "train-3"]
    with free_place("train", runs) as fourth:
        assert fourth.name == "train-4"
    others[1].kill()
    others[1].communicate()
    with free_place("train", runs) as left:
        assert left.name == places[1]
    for other in others:
        other.communicate()


def test_a_place_is_taken_while_results_are_written_there(tmp_path: Path) -> None:
    with output_folder(tmp_path / "train", marker="run.json"), free_place("train", tmp_path) as second:
        assert second.name == "train-2"


def test_helpers_of_a_training_have_its_place(tmp_path: Path) -> None:
    with free_place("train", tmp_path) as first, free_place("train", tmp_path) as of_the_helper:
        assert of_the_helper == first


def test_progress_in_words() -> None:
    assert counts_line(0, None, 3.2, "img") == "loading, 0:03 elapsed"
    assert counts_line(0, 58, 0.0, "img") == "0/58, 0:00 elapsed"
    assert counts_line(12, 58, 4.0, "img") == "12/58, 0:04 elapsed, 0:15 left, 3.0 img/s"
    assert counts_line(58, 58, 3725.0, "step") == "58/58, 1:02:05 elapsed, 0:00 left, 0.0 step/s"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(ltcam: Call, shell: str) -> None:
    result = ltcam("completion", shell)
    assert result.code == 0
    assert all(name in result.out for name in COMMANDS)
    assert "percentile" in result.out
    assert ltcam("completion", "tcsh").code == 2


def test_completion_in_bash(ltcam: Call, tmp_path: Path) -> None:
    (tmp_path / "my photos").mkdir()
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    ask = 'COMP_WORDS=({words}); COMP_CWORD={at}; _ltcam; printf "%s\\n" "${{COMPREPLY[@]}}"'

    def completed(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        script = ltcam("completion", "bash").out + ask.format(words=quoted, at=len(words) - 1)
        done = subprocess.run([bash, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout.split()

    assert completed("ltcam", "pre") == ["predict"]
    assert completed("ltcam", "data", "ch") == ["check"]
    assert completed("ltcam", "data", "check", "--la") == ["--layout"]
    assert completed("ltcam", "predict", "run", "x", "--perc") == ["--percentile"]
    assert completed("ltcam", "completion", "z") == ["zsh"]
    assert completed("ltcam", "train", "my ph") == ["my", "photos"]  # a folder of that name
    for words in (("ltcam", "train", ""), ("ltcam", "predict", "run", ""), ("ltcam", "data", "check", "")):
        assert completed(*words) == ["my", "photos"]  # not options, until a dash is typed
