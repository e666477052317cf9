"""The examples at the end of each command's help are calls that the program takes."""

import shlex

import click
import pytest

from autorthanc_spool.commands.main import COMMANDS, cli

BEGIN = "  autorthanc-spool "


def calls(name: str) -> list[list[str]]:
    command = cli.get_command(click.Context(cli), name)
    assert command
    lines = (command.epilog or "").splitlines()
    return [shlex.split(line.removeprefix(BEGIN), comments=True) for line in lines if line.startswith(BEGIN)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_a_call_of_itself_that_is_understood(name: str) -> None:
    found = calls(name)
    assert name in [call[0] for call in found]
    for called, *arguments in found:
        command = cli.get_command(click.Context(cli), called)
        assert command, called
        # Files that aren't there are no fault of the call.
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                parameter.type.exists = False
        # What a shell does with the output is no part of the call.
        end = next((place for place, word in enumerate(arguments) if word in ("|", ">", "<", "&&")), len(arguments))
        with command.make_context(called, arguments[:end]):
            pass
