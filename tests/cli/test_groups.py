"""Groups of options: taken apart for the parser, put together for the command."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from ltcam.cli.console import command
from ltcam.cli.groups import Options
from ltcam.cli.main import COMMANDS
from ltcam.cli.options import settings_group
from ltcam.training.settings import TrainingSettings


@dataclass(frozen=True)
class Point:
    x: Annotated[int, typer.Option(help="across")] = 1


@dataclass(frozen=True)
class Lifted(Point):
    z: Annotated[float, typer.Option(min=0)] = 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    where: Lifted
    colour: Annotated[str, typer.Option()] = "red"


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
        shape: Shape,
        settings: Annotated[
            TrainingSettings, settings_group(TrainingSettings, ("epochs", "augment", "head", "learning_rate"))
        ],
        again: Annotated[bool, typer.Option("--again")] = False,
    ) -> int:
        printed.append((name, shape, settings, again))
        return 0

    return made


def test_a_group_is_one_value(app: typer.Typer, printed: list[object]) -> None:
    done = CliRunner().invoke(app, ["me", "--z", "3", "--x", "7", "--no-augment", "--epochs", "2", "--again"])
    assert done.exit_code == 0, done.output
    assert printed == [("me", Shape(where=Lifted(7, 3.0)), TrainingSettings(augment=False, epochs=2), True)]


def test_defaults_and_help_are_those_of_the_settings(app: typer.Typer, printed: list[object]) -> None:
    assert CliRunner().invoke(app, ["me"]).exit_code == 0
    assert printed == [("me", Shape(where=Lifted()), TrainingSettings(), False)]
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
    assert names == ["name", "x", "z", "colour", "epochs", "augment", "head", "learning_rate", "again"]


def test_a_value_says_its_options() -> None:
    options = Options.of(Shape)
    assert [each.name for each in options.parameters] == ["x", "z", "colour"]
    assert options.taken({"x": 3, "z": 4, "colour": "blue"}) == Shape(where=Lifted(3, 4), colour="blue")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_more_than_five_values(name: str) -> None:
    bodies = [each.callback for each in import_module(COMMANDS[name][0]).app.registered_commands]
    assert bodies
    for body in bodies:
        assert len(inspect.signature(inspect.unwrap(body)).parameters) <= 5, body.__name__
