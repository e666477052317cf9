"""Orthanc: whether it answers, whom it lets in, what it is set to, and its clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from autorthanc_spool.core.errors import OrthancFault, OrthancUnavailable, PasswordRefused
from autorthanc_spool.doctor.finding import Finding, Severity, broken, ok, warning
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.questions import runs_lua
from autorthanc_spool.run import access
from autorthanc_spool.run.tools import Tools
from autorthanc_spool.settings import Settings
from autorthanc_spool.settings.contradictions import is_local

# The oldest version that this program is tested with.
OLDEST_VERSION = (1, 10, 1)
# Ages are measured by Orthanc's clock alone; ours dates records and refusals.
SKEW_S = 5.0
# Users that come with images and samples of Orthanc, and are known to everybody.
KNOWN_USERS = (("orthanc", "orthanc"), ("alice", "alicePassword"), ("demo", "demo"), ("admin", "admin"))
SHORTEST_PASSWORD = 10
_COMMON = {"password", "orthanc", "changeme", "change-me", "change me", "secret", "admin", "demo", "123456", "12345678"}


def reachable(orthanc: Orthanc) -> Iterator[Finding]:
    """Ask whether Orthanc answers and takes the password, and which version it is."""
    try:
        system = orthanc.system()
    except PasswordRefused as error:
        yield broken("Orthanc", str(error))
        return
    except OrthancUnavailable as error:
        yield Finding(Severity.BROKEN, "Orthanc", str(error), is_unreachable=True)
        return
    version = str(system.get("Version", "unknown"))
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers and tuple(int(number) for number in numbers.groups()) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        yield warning("Orthanc", f"version {version} is older than any that has been tested", f"use {oldest} or later")
    else:
        yield ok("Orthanc", f"version {version} answers at {orthanc.url}")


def credentials(settings: Settings) -> Iterator[Finding]:
    """Try whom Orthanc lets in."""
    password = settings.password.get_secret_value() if settings.password else ""
    if _lets_in(settings, "", None):
        yield from _open_door(settings)
        return
    known = [user for user, word in KNOWN_USERS if _lets_in(settings, user, word)]
    for user in known:
        text = f"Orthanc takes the well-known password of the user {user}"
        yield broken("credentials", text, "change it in Orthanc's RegisteredUsers, and in ORTHANC_PASSWORD")
    if known or not password:
        return
    if password.lower() in _COMMON | {settings.username.lower()}:
        yield broken("credentials", "the password is one that is tried first", "take a long random one")
    elif len(password) < SHORTEST_PASSWORD:
        text = f"the password has fewer than {SHORTEST_PASSWORD} characters"
        yield warning("credentials", text, "take a long random one: openssl rand -base64 18")
    else:
        yield ok("credentials", "Orthanc asks for a password, and accepts no well-known one")


def _open_door(settings: Settings) -> Iterator[Finding]:
    text = "Orthanc lets everybody in without a password"
    if settings.authentication_enabled:
        fix = "set AuthenticationEnabled to true and RegisteredUsers in Orthanc's configuration"
        yield broken("credentials", f"{text}, although ORTHANC_AUTHENTICATION_ENABLED is true", fix)
    else:
        yield warning("credentials", text, "set ORTHANC_AUTHENTICATION_ENABLED=true and ORTHANC_PASSWORD")


def _lets_in(settings: Settings, user: str, password: str | None) -> bool:
    try:
        Orthanc(settings.orthanc_url, user, password, ca_file=settings.ca_file, connections=1).system()
    except (OrthancUnavailable, OrthancFault):
        return False
    return True


def transport(settings: Settings) -> Iterator[Finding]:
    """Look how the password gets to Orthanc."""
    parts = urlsplit(settings.orthanc_url)
    if parts.scheme == "http" and not is_local(parts.hostname or ""):
        text = "the password crosses the network in the clear (AUTORTHANC_ALLOW_PLAIN_HTTP)"
        yield warning("transport", text, "use https, unless the network between is your own, as within Compose")
    elif parts.scheme == "https":
        yield ok("transport", "encrypted, and Orthanc's certificate is checked")


def configuration(tools: Tools) -> Iterator[Finding]:
    """Look at what of Orthanc's configuration shows from outside."""
    system = tools.orthanc.system()
    if system.get("IsHttpServerSecure") is False:
        fix = "set RemoteAccessAllowed to false, or AuthenticationEnabled to true with RegisteredUsers"
        yield broken("remote access", "Orthanc is open to the network without a password", fix)
    else:
        yield ok("remote access", "Orthanc isn't open to the network without a password")
    if runs_lua(tools.orthanc):
        text = "ExecuteLuaEnabled is true: whoever has the password can run programs as Orthanc's user"
        yield warning("Orthanc", text, "set ExecuteLuaEnabled to false")
    if system.get("MaximumStorageSize") and system.get("MaximumStorageMode", "Recycle") == "Recycle":
        text = "Orthanc deletes the oldest patients when its storage is full (MaximumStorageSize)"
        yield warning("Orthanc", text, "set MaximumStorageSize to 0, or MaximumStorageMode to Reject")


def storage(tools: Tools) -> Iterator[Finding]:
    """Check whether Orthanc's storage is where the settings say, if they do."""
    if not tools.storage:
        return
    complaint = tools.storage.complaint()
    if complaint:
        fix = "set AUTORTHANC_ORTHANC_STORAGE_PATH to Orthanc's StorageDirectory, which this user must be able to read"
        yield warning("storage", f"{complaint}, so files come by HTTP", fix)
    else:
        yield ok("storage", f"stored files are copied from {tools.settings.orthanc_storage_path}")


def clocks(tools: Tools) -> Iterator[Finding]:
    """Compare the two clocks, and Orthanc's local time with UTC."""
    before, theirs, after = tools.clock(), tools.orthanc.now(), tools.clock()
    ours = before + (after - before) / 2
    skew_s = abs((theirs - ours).total_seconds())
    if skew_s > SKEW_S:
        text = f"Orthanc's clock and this machine's are {skew_s:.0f} s apart"
        yield warning("clocks", text, "run a time service (chrony, systemd-timesyncd) on both machines")
    else:
        yield ok("clocks", "Orthanc's and this machine's agree")
    offset_min = round((tools.orthanc.local_now() - tools.orthanc.now()).total_seconds() / 60)
    if offset_min:
        text = f"Orthanc's local time is {offset_min:+d} min from UTC, so daylight saving spoils StableAge twice a year"
        yield warning("time zone", text, "start Orthanc with TZ=UTC in its environment")
    else:
        yield ok("time zone", "Orthanc's local time is UTC at the moment")


def destinations(tools: Tools) -> Iterator[Finding]:
    """Check whether Orthanc knows where active rules send to."""
    wanted = {
        (destination, rule.name)
        for rule in tools.rulebook.read().rules
        if rule.is_active and rule.forwards
        for destination in rule.destination_modalities
    }
    known = tools.orthanc.modalities() if wanted else frozenset()
    for destination, rule in sorted(wanted):
        if destination not in known:
            text = f"Orthanc knows no modality {destination}, which the rule {rule} sends to"
            yield broken("destinations", text, "add it to ORTHANC_DICOM_MODALITIES, or fix DestinationModality")
    sent_to = known.intersection(destination for destination, _ in wanted)
    loops = access.leading_back(tools.settings, sent_to) if sent_to else frozenset()
    for destination, rule in sorted(wanted):
        if destination in loops:
            text = f"{destination}, which the rule {rule} sends to, is Orthanc itself: what is sent may come back"
            yield warning("destinations", text, "name another node in DestinationModality")
    if wanted and not loops and all(destination in known for destination, _ in wanted):
        yield ok("destinations", f"Orthanc knows {', '.join(sorted({destination for destination, _ in wanted}))}")
