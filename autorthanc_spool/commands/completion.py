"""`completion`: what a shell needs to complete commands, options, markers and rules."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from autorthanc_spool.commands.options import examples
from autorthanc_spool.core.errors import SpoolError

PROGRAM = "autorthanc-spool"
# Where the shell's function asks; click's own name for it.
VARIABLE = "_AUTORTHANC_SPOOL_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

_EXAMPLES = examples(
    (
        "completion bash > ~/.local/share/bash-completion/completions/autorthanc-spool",
        "for bash, from the next shell on",
    ),
    ("completion zsh > ~/.zfunc/_autorthanc-spool", "for zsh, where ~/.zfunc is in fpath before compinit"),
    ("completion fish > ~/.config/fish/completions/autorthanc-spool.fish", "for fish"),
)


@click.command("completion", epilog=_EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands, options, markers, rules, states and kinds of errors."""
    found = get_completion_class(shell)
    if found is None:
        raise SpoolError(f"this version of click completes nothing in {shell}")
    click.echo(found(context.find_root().command, {}, PROGRAM, VARIABLE).source())
