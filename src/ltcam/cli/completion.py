"""`ltcam completion SHELL`: a script that completes commands, options and files."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, get_args

import typer

from ltcam.cli.console import DONE, command

app = typer.Typer(add_completion=False)

_BASH = """\
_ltcam() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words="" options="--help --version"
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="{commands}"; fi
  if [ "${{word#-}}" != "$word" ]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  elif [ "$COMP_CWORD" -le 2 ] && [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  else
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _ltcam ltcam
"""

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"

_FISH = """\
complete -c ltcam -n __fish_use_subcommand -f -a "{commands}"
{options}
"""


@app.command()
@command
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="bash, zsh or fish")],
) -> int:
    """Print a script that completes ltcam's commands and options with the Tab key.

    bash: eval "$(ltcam completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc; fish: ltcam completion
    fish > ~/.config/fish/completions/ltcam.fish.
    """
    sys.stdout.write(script(shell))
    return DONE


def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """The script for a shell, with the options of all commands as they are now."""
    from ltcam.cli.commands import load  # noqa: PLC0415  # loads all commands
    from ltcam.cli.main import COMMANDS  # noqa: PLC0415

    loaded = {name: load(name, module) for name, (module, _) in COMMANDS.items()}
    if shell == "fish":
        lines = [
            f"complete -c ltcam -n '__fish_seen_subcommand_from {name}' -l {option.removeprefix('--')}"
            for name, each in loaded.items()
            for option in [*_options(each), *(o for inner in _inner(each).values() for o in _options(inner))]
        ]
        return _FISH.format(commands=" ".join(loaded), options="\n".join(dict.fromkeys(lines)))
    cases = []
    for name, each in loaded.items():
        for word, inner in _inner(each).items():
            cases.append(f'    "{name} {word}") words="{word}" options="{" ".join(_options(inner))}" ;;')
        words = " ".join([*_inner(each), *_choices(each)])
        cases.append(f'    "{name} "*) words="{words}" options="{" ".join(_options(each))}" ;;')
    text = _BASH.format(cases="\n".join(cases), commands=" ".join(loaded))
    return _ZSH + text if shell == "zsh" else text


def _inner(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def _choices(command: Any) -> list[str]:
    """What a command's argument may be, where it is one of a few words."""
    return [
        word
        for each in command.params
        if each.param_type_name == "argument"
        for word in get_args(each.type_descriptor.annotation)
        if isinstance(word, str)
    ]


def _options(command: Any) -> list[str]:
    found = [option for each in command.params for option in (*each.opts, *each.secondary_opts)]
    return sorted({"--help", *(option for option in found if option.startswith("--"))})
