"""A process that claims whatever it can and notes what it did; started many times by the race tests."""

import sys
import time
from pathlib import Path

from autorthanc_spool.core.states import Event
from autorthanc_spool.spool.spool import Spool


def main(root: str, notes: str, barrier: str) -> None:
    spool = Spool(Path(root), time.time)
    # All start at the same moment, or there would be no race.
    while not Path(barrier).exists():
        pass
    with Path(notes).open("a") as out:
        for claim in spool.claims():
            out.write(f"{claim.marker.resource_id} {claim.item.name} {len(claim.companions)}\n")
            spool.file(claim, Event.FINISH, claim.marker)


main(*sys.argv[1:])
