"""The spool and Orthanc, as the settings name them: all that a look takes, and quick to import for a health check."""

from __future__ import annotations

import time
from collections.abc import Iterable

from autorthanc_spool.core.errors import SettingsError, UsageError
from autorthanc_spool.core.pulse import Pulse
from autorthanc_spool.core.states import State
from autorthanc_spool.disk import durable
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.settings import Settings, owners
from autorthanc_spool.spool.spool import Spool


def find_spool(settings: Settings) -> Spool:
    """Open the spool that is there. Raises UsageError when there is none, and changes nothing then."""
    if not Spool(settings.spool_path, time.time).directories.of(State.INCOMING).is_dir():
        raise UsageError(
            f"there is no spool at {settings.spool_path}; name the folder that holds your .env with --site DIR or "
            "AUTORTHANC_SITE, or the spool with --spool. In a new site, `autorthanc-spool up` or `run` makes it"
        )
    # The folders that Lua writes into may be all that there is of it.
    return make_spool(settings)


def make_spool(settings: Settings, pulse: Pulse | None = None) -> Spool:
    """Open the spool, and lay out what is missing of it."""
    spool = Spool(settings.spool_path, time.time, pulse)
    try:
        spool.directories.lay_out(owners.of_spool(settings))
    except OSError as error:
        if durable.is_away(error):
            raise
        raise SettingsError(
            [f"AUTORTHANC_SPOOL_PATH: the spool {settings.spool_path} can't be made or used: {error.strerror}"]
        ) from None
    return spool


def leading_back(settings: Settings, names: Iterable[str]) -> frozenset[str]:
    """Return those of the destinations that are Orthanc itself. Raises OrthancUnavailable, OrthancFault."""
    return Modalities(orthanc(settings)).leading_back(names, settings.aet_port)


def orthanc(settings: Settings, pulse: Pulse | None = None) -> Orthanc:
    """Make the client; nothing is asked yet."""
    return Orthanc(
        settings.orthanc_url,
        settings.username,
        settings.password.get_secret_value() if settings.password else None,
        ca_file=settings.ca_file,
        connections=settings.download_threads,
        pulse=pulse,
    )
