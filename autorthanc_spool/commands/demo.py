"""`demo`: the main job, shown."""

from __future__ import annotations

import click


@click.command("demo")
@click.option("--keep", is_flag=True, help="Leave the folder of the demonstration in place.")
def command(keep: bool) -> int:
    """Show the main job in a temporary folder: a study sent by C-STORE, and what becomes of it."""
    from autorthanc_spool.demo import demonstration

    return demonstration.demo(keep)
