"""`demo`: the main job, shown."""

from __future__ import annotations

import click

from autorthanc_spool.commands.options import examples

_EXAMPLES = examples(("demo", "is all there, and what does it look like?"), ("demo --keep", "and look around in it"))


@click.command("demo", epilog=_EXAMPLES)
@click.option("--keep", is_flag=True, help="Leave the folder of the demonstration in place.")
def command(keep: bool) -> int:
    """Show the main job in a temporary folder: a study sent by C-STORE, and what happens to it."""
    from autorthanc_spool.demo import demonstration

    return demonstration.demo(keep)
