"""Every command and every option says what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest

from vedette_cli.main import main


def commands() -> Iterator[tuple[str, click.Command]]:
    assert isinstance(main, click.Group)
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield f"{name} {inner}", found


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_command_and_option_is_explained(run: Any, name: str, command: click.Command) -> None:
    result = run(*name.split(), "--help")
    assert result.exit_code == 0
    assert command.help
    assert command.help.split("\n")[0].rstrip().endswith((".", ":"))
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.opts[0] in result.output


def test_the_overview_names_every_command(run: Any) -> None:
    output = run("--help").output
    for name, _ in commands():
        assert name.split()[0] in output


def test_an_unknown_command_is_a_usage_error(run: Any) -> None:
    assert run("upp").exit_code == 2


def test_the_version_is_told(run: Any) -> None:
    assert run("--version").output.startswith("vedette ")
