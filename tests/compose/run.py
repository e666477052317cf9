"""The whole Compose set-up for real: containers, networks, owners, restarts; a study in by DICOM, files out.

Not part of the other tests: needs root, an engine (Podman or Docker), and Debian's packages, and takes some minutes.
Nothing stays: no container, network, mount, packet filter, process or image (see confinement.py).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import sys
import urllib.request
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from confinement import confined, groups_removed
from engines import CACHE, Engine, build_images, docker, podman, until
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE

from autorthanc_spool.site import init

# Also the name of the project, so nothing but small letters, digits and hyphens.
SITE = "autorthanc-test"
UID, GID, SPOOL_GID = 1234, 2345, 3456
SERVICES = ("index-db", "orthanc", "nginx", "processor")
PASSWORD = "0815"
# By the word that they look for in StudyDescription.
RULES = {
    "brain": {"Action": "DOWNLOAD"},
    "trial": {"Action": ["ANONYMISE", "ZIP"]},
    "phantom": {"Action": "DOWNLOAD", "DeleteFromOrthanc": True},
}
INSTANCES = 3


class Site:
    """One site, up and running."""

    def __init__(self, engine: Engine, folder: Path, ports: dict[str, int]) -> None:
        self.engine, self.folder, self.ports = engine, folder, ports
        self._sent = 0

    def up(self, *arguments: str) -> None:
        """Start everything, and wait for health."""
        self.engine.compose(self.folder, "up", "--detach", "--no-build", *arguments)
        self.wait_for_health()

    def wait_for_health(self) -> None:
        """Wait until each of the four services says that it is well."""
        for service in SERVICES:
            container = self.engine.container(self.folder, service)
            until(f"{service} is healthy", lambda name=container: self.engine.is_healthy(name))

    def send_study(self, description: str = "brain") -> str:
        """Send a study through the published DICOM port; give its name in the output."""
        self._sent += 1
        patient = f"P{self._sent:03d}"
        entity = AE("SCANNER")
        # Each image is on the disk, in two databases, before it is acknowledged; a busy machine takes its time.
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 120
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", self.ports["ORTHANC_AET_PORT"])
        assert association.is_established, "Orthanc takes no DICOM association through the published port"
        for instance in _study(patient, description):
            assert association.send_c_store(instance).Status == 0
        association.release()
        return f"{patient}-Doe-1"

    def studies(self) -> int:
        """How many studies Orthanc holds, asked through the web port."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['ORTHANC_WEB_PORT']}/statistics")
        request.add_header("Authorization", "Basic " + b64encode(f"orthanc:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(json.load(answer)["CountStudies"])

    def wait_for_study(self, name: str, rule: str = "brain") -> None:
        """Wait until the study is published; look at what lies there."""
        place = self.folder / "output" / rule / name
        until(f"{name} is published", place.is_dir)
        files = list(place.rglob("*.dcm"))
        assert len(files) == INSTANCES, files
        for path in (place, *place.rglob("*")):
            status = path.stat()
            assert (status.st_uid, status.st_gid) == (UID, GID), path
            assert status.st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path
        spool = (self.folder / "spool").stat()
        assert (spool.st_gid, spool.st_mode & 0o7777) == (SPOOL_GID, 0o2770)

    def logs(self) -> str:
        """Everything that the containers said."""
        return self.engine.compose(self.folder, "logs")


def _study(patient: str, description: str) -> Iterator[Dataset]:
    study, series = generate_uid(), generate_uid()
    for number in range(1, INSTANCES + 1):
        instance = Dataset()
        instance.SOPClassUID, instance.SOPInstanceUID = CTImageStorage, generate_uid()
        instance.StudyInstanceUID, instance.SeriesInstanceUID = study, series
        instance.PatientID, instance.PatientName, instance.StudyID = patient, "Doe^Jane", "1"
        instance.StudyDescription, instance.Modality = description, "CT"
        instance.SeriesNumber, instance.InstanceNumber = 1, number
        instance.file_meta = FileMetaDataset()
        instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        yield instance


@contextmanager
def site(engine: Engine) -> Iterator[Site]:
    """Lay a site out as `init` does, with ports and times of the test's."""
    folder = CACHE / SITE
    shutil.rmtree(folder, ignore_errors=not folder.exists())
    init.lay_out(folder, init.Person(UID, GID, PASSWORD))
    ports = {name: _free_port() for name in ("ORTHANC_WEB_PORT", "ORTHANC_AET_PORT", "POSGRES_DOCKER_EXPOSE_PORT")}
    with (folder / ".env").open("a") as stream:
        stream.write("".join(f"{name}={port}\n" for name, port in ports.items()))
        stream.write(f"AUTORTHANC_SPOOL_GID={SPOOL_GID}\n")
        stream.write("ORTHANC_STABLE_AGE=2\nAUTORTHANC_POLL_INTERVAL_S=1\nORTHANC_AET_NAME=4711\n")
    rules = folder / "automation_scripts"
    rules.mkdir(exist_ok=True)
    for word, keys in RULES.items():
        rule = {"CheckOn": "Study", "IsActive": True, "Tags": [{"TagName": "StudyDescription", "Value": word}], **keys}
        (rules / f"{word}.json").write_text(json.dumps(rule))
    try:
        yield Site(engine, folder, ports)
    finally:
        engine.clear(folder)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def a_study_is_published_with_the_right_owner(here: Site) -> None:
    """C-STORE to folder."""
    here.wait_for_study(here.send_study())


def a_study_is_published_after_a_restart_of_each_service(here: Site) -> None:
    """One by one, as a person or a crash does it."""
    for service in SERVICES:
        print(f"  {service}", flush=True)
        here.engine.compose(here.folder, "restart", service)
        here.wait_for_health()
        here.wait_for_study(here.send_study())


def three_processors_share_the_work(here: Site) -> None:
    """Every study once, whoever takes it."""
    here.up("--scale", "processor=3")
    names = [here.send_study() for _ in range(9)]
    for name in names:
        here.wait_for_study(name)
    assert len(list((here.folder / "output/brain").iterdir())) == here._sent


def a_study_is_anonymised_with_a_key_beside_the_site(here: Site) -> None:
    """The archive, and the key file, are the person's, who alone may read the key."""
    here.send_study("trial")
    folder = here.folder / "output/trial"
    until("an archive is published", lambda: any(folder.glob("*.zip")))
    (archive,) = folder.glob("*.zip")
    with zipfile.ZipFile(archive) as packed:
        files = [packed.read(name) for name in packed.namelist()]
    assert len(files) == INSTANCES
    assert not any(b"Doe^Jane" in data for data in files)
    status = (here.folder / "secrets/pseudonym.key").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (UID, 0o600), status


def a_study_is_deleted_from_orthanc_when_it_is_published(here: Site) -> None:
    """And no other one is."""
    before = here.studies()
    here.wait_for_study(here.send_study("phantom"), "phantom")
    until("the study is gone", lambda: here.studies() == before)


def a_second_up_finds_its_own_ports(here: Site) -> None:
    """What runs is no other program."""
    here.up()


def a_port_in_use_is_said(here: Site) -> None:
    """With the variable's name, in the log of `ports`."""
    here.engine.compose(here.folder, "down")
    with socket.create_server(("127.0.0.1", here.ports["ORTHANC_WEB_PORT"])):
        assert "ORTHANC_WEB_PORT is" in _refusal(here)


def modalities_that_are_no_json_are_said(here: Site) -> None:
    """With the variable's name, in the log of `init`."""
    with (here.folder / ".env").open("a") as stream:
        stream.write("ORTHANC_DICOM_MODALITIES='{PACS}'\n")
    assert "ORTHANC_DICOM_MODALITIES" in _refusal(here)


def _refusal(here: Site) -> str:
    try:
        here.engine.compose(here.folder, "up", "--detach", "--no-build")
    except Exception as error:  # noqa: BLE001 - Docker Compose ends with an error, podman-compose doesn't
        return f"{error}\n{here.logs()}"
    return here.logs()


STEPS = (
    a_study_is_published_with_the_right_owner,
    a_study_is_published_after_a_restart_of_each_service,
    three_processors_share_the_work,
    a_study_is_anonymised_with_a_key_beside_the_site,
    a_study_is_deleted_from_orthanc_when_it_is_published,
    a_second_up_finds_its_own_ports,
    a_port_in_use_is_said,
    modalities_that_are_no_json_are_said,
)


ENGINES = {"docker": docker, "podman": podman}


def _engine(options: argparse.Namespace) -> AbstractContextManager[Engine]:
    folder = CACHE / options.engine
    folder.mkdir(exist_ok=True)
    return ENGINES[options.engine](folder)


def build(options: argparse.Namespace) -> None:
    """Make the images; the only part that reaches out of this machine, for packages."""
    with _engine(options) as engine:
        build_images(engine)


def take_the_steps(options: argparse.Namespace) -> None:
    """Bring everything up, and run the steps in order."""
    with _engine(options) as engine, site(engine) as here, ExitStack() as on_failure:
        on_failure.callback(lambda: print(here.logs()[-20_000:], file=sys.stderr))
        here.up()
        for step in STEPS:
            print(step.__name__.replace("_", " "), flush=True)
            step(here)
        on_failure.pop_all()


# Each in a room of its own; the second without the machine's network.
STAGES = {"build": build, "steps": take_the_steps}


def main() -> int:
    """Build, run the steps, and say how it went."""
    options = _options()
    if options.stage:
        STAGES[options.stage](options)
        return 0
    problem = _what_is_missing(options.engine)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with groups_removed():
            failed = any(
                confined([*sys.argv[1:], f"--stage={stage}"], with_network=stage == "build") for stage in STAGES
            )
    finally:
        for path in _what_goes(options):
            shutil.rmtree(path, ignore_errors=not path.exists())
    print("it failed; the reason is above" if failed else f"{len(STEPS)} passed, 0 failed")
    return 1 if failed else 0


def _what_goes(options: argparse.Namespace) -> list[Path]:
    return [CACHE / SITE, CACHE / "image", CACHE / options.engine / "containers"] if options.keep else [CACHE]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="podman")
    parser.add_argument("--keep", action="store_true", help=f"leave the images for the next time, in {CACHE}")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


def _what_is_missing(engine: str) -> str | None:
    if os.geteuid() != 0:
        return "compose-test makes namespaces and networks, so it must run as root: sudo make compose-test"
    programs = {
        "podman": ("podman", "runc", "iptables"),
        "docker": ("dockerd", "docker"),
    }[engine]
    missing = [name for name in (*programs, "debootstrap", "unshare", "ip", "catatonit") if not shutil.which(name)]
    return f"these programs are missing: {', '.join(missing)}; `make compose-test` installs them" if missing else None


if __name__ == "__main__":
    sys.exit(main())
