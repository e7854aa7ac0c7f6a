"""Groups of options: taken apart for the parser, put together for the command."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from ltcam.cli.console import command
from ltcam.cli.groups import Group
from ltcam.cli.options import settings_group
from ltcam.training.settings import TrainingSettings


def point(x: Annotated[int, typer.Option(help="across")] = 1) -> Any:
    return (x,)


def lifted(z: Annotated[float, typer.Option(min=0)] = 2, **flat: Any) -> Any:
    return (*point(**flat), z)


@pytest.fixture
def printed() -> list[object]:
    return []


@pytest.fixture
def app(printed: list[object]) -> typer.Typer:
    made = typer.Typer(add_completion=False)

    @made.command()
    @command
    def show(
        name: Annotated[str, typer.Argument()],
        place: Annotated[tuple[object, ...], Group(lifted, also=point)],
        settings: Annotated[
            TrainingSettings, settings_group(TrainingSettings, ("epochs", "augment", "head", "learning_rate"))
        ],
        again: Annotated[bool, typer.Option("--again")] = False,
    ) -> int:
        printed.append((name, place, settings, again))
        return 0

    return made


def test_a_group_is_one_value(app: typer.Typer, printed: list[object]) -> None:
    done = CliRunner().invoke(app, ["me", "--z", "3", "--x", "7", "--no-augment", "--epochs", "2", "--again"])
    assert done.exit_code == 0, done.output
    assert printed == [("me", (7, 3.0), TrainingSettings(augment=False, epochs=2), True)]


def test_defaults_and_help_are_those_of_the_settings(app: typer.Typer, printed: list[object]) -> None:
    assert CliRunner().invoke(app, ["me"]).exit_code == 0
    assert printed == [("me", (1, 2), TrainingSettings(), False)]
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "160"}).output
    assert str(TrainingSettings.model_fields["epochs"].description) in shown
    assert "across" in shown


@pytest.mark.parametrize("typed", [["--epochs", "0"], ["--learning-rate", "2"]])
def test_what_settings_refuse_is_said_in_options(
    app: typer.Typer, typed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        app(["me", *typed])
    assert left.value.code == 2
    assert f"{typed[0]} {typed[1]}" in capsys.readouterr().err


def test_the_order_of_options_is_that_of_the_command(app: typer.Typer) -> None:
    names = [each.name for each in typer.main.get_command(app).params]
    assert names == ["name", "x", "z", "epochs", "augment", "head", "learning_rate", "again"]


def test_a_group_says_its_parameters() -> None:
    assert [each.name for each in Group(lifted, also=point).parameters] == ["x", "z"]
    assert all(each.default is not inspect.Parameter.empty for each in Group(lifted, also=point).parameters)
