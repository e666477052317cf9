"""Take one lock over and over, as `locker.py FOLDER SECONDS`; print from when to when it was held, and what went wrong.

The hosts of the lab have one clock, so that two who held it at the same time are found afterwards.
"""

import random
import sys
import time
from pathlib import Path

from autorthanc_spool.disk import locks


def main(folder: Path, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        held = locks.take(folder, "contested")
        if held is None:
            continue
        begin_s = time.monotonic()
        time.sleep(random.uniform(0, 0.01))
        print(begin_s, time.monotonic())
        held.release()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
