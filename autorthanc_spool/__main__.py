"""`python -P -m autorthanc_spool`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line, by libraries of the installation alone.

    Without `-P`, Python looks for modules in the working directory first; it stays only where this package lies in it.
    """
    here = Path.cwd()
    if not sys.flags.safe_path and Path(sys.path[0] or here) == here != Path(__file__).parents[1]:
        del sys.path[0]
    from autorthanc_spool.commands.main import main as run

    run()


main()
