"""The process of a worker, started by `pool` as `python -P -m autorthanc_spool.deidentify.process FD [pixels]`.

FD is one end of a socket pair. It ends when the other end is closed, so when its parent ends, however that happens.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Connection

from autorthanc_spool.deidentify import codecs

PIXELS = "pixels"


def main(descriptor: str, *more: str) -> None:
    """Work. Pixels are decoded only by processes that are started for it."""
    # A signal for the whole group of processes is the parent's business; this one ends with the connection.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if PIXELS not in more:
        codecs.leave_out()
    from autorthanc_spool.deidentify.worker import serve

    serve(Connection(int(descriptor)))


if __name__ == "__main__":
    main(*sys.argv[1:])
    # There is nothing left to be done; Python would take all dictionaries apart, and somebody waits for the end.
    os._exit(0)
