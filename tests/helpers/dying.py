"""Runs that are repeated until nothing is left to die at."""

import shutil
from collections.abc import Callable

from autorthanc_spool.run import wiring
from autorthanc_spool.settings import load_settings
from tests.helpers.site import Site

# More steps than any of these lives has: reaching it means that the child never finishes.
TOO_MANY = 400


def work(site: Site) -> Callable[[], object]:
    settings = load_settings({}, {**site.environment, "AUTORTHANC_LOG_LEVEL": "error"}, site.root)
    return lambda: wiring.run(settings, once=True)


def clear(site: Site) -> None:
    for folder in (site.spool, site.output):
        shutil.rmtree(folder, ignore_errors=True)
