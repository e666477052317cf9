"""`up`: real Orthanc and processor, started, watched and ended together."""

import io
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import urllib.request
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage

from autorthanc_spool.demo import study as demo_study
from autorthanc_spool.settings import load_settings
from autorthanc_spool.site import orthanc_config, up
from tests.helpers import datasets, dicom_net
from tests.helpers.orthanc_server import LUA_SCRIPT, OrthancServer
from tests.helpers.whole_site import DEADLINE_S, Site, command_line

PASSWORD = 'a$b${HOME}"\\ #'
FOREIGN_PASSWORD = "grüße λόγος"
DISPLAY_NAME = "${HOME} of $studies"
STARTED = "Orthanc answers"
PUBLISHED = "published"
# Explicit VR, deflated, RLE, JPEG-LS, JPEG 2000, MPEG-4.
SYNTAXES = [f"1.2.840.10008.1.2.{end}" for end in ("1", "1.99", "5", "4.80", "4.90", "4.102")]
IMAGE = str(get_testdata_file("CT_small.dcm", download=False))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.set(ORTHANC_PASSWORD=PASSWORD)
    return site


def get_system(site: Site, password: str | None = None) -> dict[str, object]:
    manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
    url = f"http://127.0.0.1:{site.web_port}/"
    if password is not None:
        manager.add_password(None, url, "orthanc", password, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    with opener.open(f"{url}system", timeout=10) as response:
        system: dict[str, object] = json.load(response)
        return system


def wait_until_gone(numbers: dict[str, int]) -> list[str]:
    """Wait for the end of processes that aren't our children; give the names of those that live on."""
    living = []
    for name, number in numbers.items():
        try:
            descriptor = os.pidfd_open(number)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([descriptor], [], [], DEADLINE_S)
        os.close(descriptor)
        living += [] if ended else [name]
    return living


def test_a_study_sent_to_it_is_published_and_both_end_in_order(site: Site) -> None:
    site.set(ORTHANC_DISPLAY_NAME=DISPLAY_NAME)
    with site.up() as running:
        running.wait_for(STARTED)
        assert get_system(site, PASSWORD)["Name"] == DISPLAY_NAME
        demo_study.send(demo_study.make(), site.dicom_port, "AUTORTHANCAET")
        running.wait_for(PUBLISHED)
        children = running.children()
        seen = [command_line(number) for number in children.values()]
        seen.append(Path(f"/proc/{children['orthanc']}/environ").read_bytes())
        assert running.end() == 0
    assert not any(PASSWORD.encode() in text for text in seen)
    assert len(list((site.folder / "output" / "all").glob("DEMO-0001-*/SE*/*.dcm"))) == 9
    assert all(" | " in line for line in running.lines)
    ends = [line for line in running.lines if line.startswith("orthanc ")]
    assert ends[-1] == [line for line in running.lines if not line.startswith("up ")][-1]
    assert "Orthanc has stopped" in ends[-1]
    assert wait_until_gone(children) == []


def test_private_classes_and_compressed_images_are_taken_and_published(site: Site) -> None:
    """Siemens' non-image class, Philips' spectroscopy, and syntaxes that differ by the version's default."""
    classes = {"1.3.12.2.1107.5.9.1": SYNTAXES[0], "1.3.46.670589.11.0.0.12.1": SYNTAXES[0]}
    files = [datasets.make_instance(series=1)]
    for number, (kind, syntax) in enumerate([*classes.items(), *((CTImageStorage, one) for one in SYNTAXES)], start=2):
        data = pydicom.dcmread(io.BytesIO(datasets.make_instance(series=number, SOPClassUID=kind)))
        data.file_meta.TransferSyntaxUID = syntax
        if UID(syntax).is_compressed and not UID(syntax).is_deflated:
            data.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
            data["PixelData"].VR = "OB"
        buffer = io.BytesIO()
        data.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    with site.up() as running:
        running.wait_for(STARTED)
        dicom_net.store(site.dicom_port, files, aet="AUTORTHANCAET")
        running.wait_for(PUBLISHED)
        assert running.end() == 0
    assert len(list((site.folder / "output" / "all").glob("*/SE*/*.dcm"))) == len(files)


def test_a_password_may_hold_letters_of_any_script(site: Site) -> None:
    site.set(ORTHANC_PASSWORD=FOREIGN_PASSWORD)
    with site.up() as running:
        running.wait_for(STARTED)
        running.wait_for("first contact with this Orthanc")
        assert running.end() == 0


def test_the_configuration_is_for_its_owner_only(site: Site) -> None:
    with site.up() as running:
        running.wait_for(STARTED)
        status = (site.folder / "orthanc-db" / "orthanc.json").stat()
        assert running.end(signal.SIGINT) == 0
    assert stat.S_IMODE(status.st_mode) == 0o600
    left = [path.name for path in (site.folder / "orthanc-db").iterdir() if not path.is_dir()]
    assert set(left) <= {"orthanc.json", "index", "index-wal", "index-shm"}


def test_both_end_when_it_is_killed(site: Site) -> None:
    with site.up() as running:
        running.wait_for(STARTED)
        running.wait_for("processor")
        children = running.children()
        assert set(children) == {"orthanc", "processor"}
        running.process.kill()
        assert wait_until_gone(children) == []


@pytest.mark.parametrize(("victim", "survivor"), [("orthanc", "processor"), ("processor", "orthanc")])
def test_it_ends_with_either(site: Site, victim: str, survivor: str) -> None:
    with site.up() as running:
        running.wait_for(STARTED)
        running.wait_for("processor")
        children = running.children()
        os.kill(children[victim], signal.SIGKILL)
        assert running.exit_code() == 1
    assert any(f"{victim} ended by itself (signal SIGKILL)" in line for line in running.lines)
    assert wait_until_gone({survivor: children[survivor]}) == []


def test_an_orthanc_that_refuses_its_configuration_is_said(site: Site) -> None:
    site.set(ORTHANC_DICOM_MODALITIES='{"pacs": ["PACS", "10.0.0.5", 104, "NoSuchMaker"]}')
    with site.up() as running:
        assert running.exit_code() == 1
    assert any("NoSuchMaker" in line for line in running.lines)
    assert "orthanc ended by itself" in running.lines[-1]


def test_it_ends_when_nobody_reads_its_log(site: Site) -> None:
    with site.up() as running:
        running.wait_for(STARTED)
        running.wait_for("processor")
        children = running.children()
        assert running.process.stdout is not None
        running.process.stdout.close()
        demo_study.send(demo_study.make()[:1], site.dicom_port, "AUTORTHANCAET")
        assert running.process.wait(DEADLINE_S) == 0
    assert wait_until_gone(children) == []


def test_without_a_password_it_refuses(site: Site) -> None:
    site.set(ORTHANC_PASSWORD="")
    assert "ORTHANC_PASSWORD isn't set" in site.refusal()
    assert not (site.folder / "orthanc-db" / "orthanc.json").exists()


def test_a_port_in_use_keeps_everything_from_starting(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.dicom_port))
        other.listen()
        assert f"ORTHANC_AET_PORT: port {site.dicom_port} is in use" in site.refusal()
    assert not (site.folder / "orthanc-db" / "orthanc.json").exists()


def test_the_processor_speaks_to_the_orthanc_that_was_started(site: Site) -> None:
    site.set(ORTHANC_URL="http://127.0.0.1:1")
    with site.up() as running:
        running.wait_for("`up` works with the Orthanc that it starts itself")
        running.wait_for(STARTED)
        running.wait_for("first contact with this Orthanc")
        assert running.end() == 0


def test_without_authentication_it_serves_this_machine(site: Site) -> None:
    site.set(ORTHANC_PASSWORD="", ORTHANC_AUTHENTICATION_ENABLED="false")
    with site.up() as running:
        running.wait_for("open on this machine only")
        running.wait_for(STARTED)
        assert get_system(site)["DicomAet"] == "AUTORTHANCAET"
        assert running.end() == 0


@pytest.mark.parametrize("listed", [False, True])
def test_strict_lets_only_listed_nodes_send(site: Site, listed: bool) -> None:
    modalities = {"scanner": ["SCANNER", "127.0.0.1", 4444]} if listed else {}
    site.set(AUTORTHANC_DICOM_STRICT="true", ORTHANC_DICOM_MODALITIES=json.dumps(modalities))
    with site.up() as running:
        running.wait_for(STARTED)
        sent = subprocess.run(
            ["storescu", "-aet", "SCANNER", "-aec", "AUTORTHANCAET", "127.0.0.1", str(site.dicom_port), IMAGE],
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert (sent.returncode == 0) == listed, sent.stderr
        assert running.end() == 0


def test_orthanc_loads_the_plugin_that_has_the_button_where_it_is_installed(tmp_path: Path) -> None:
    """Debian 12 has no Orthanc Explorer 2: another plugin takes its place, which loads and ignores the section."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    shutil.copy("/usr/share/orthanc/plugins/libServeFolders.so", folder / up.EXPLORER)
    explorer = up.explorer((tmp_path / "nowhere", folder))
    assert explorer == folder / up.EXPLORER
    assert up.explorer((tmp_path / "nowhere",)) is None
    written = orthanc_config.configuration(
        load_settings({}, {"ORTHANC_PASSWORD": PASSWORD}, tmp_path), LUA_SCRIPT, explorer
    )
    kept = {key: written[key] for key in ("Plugins", "OrthancExplorer2")}
    server = OrthancServer(tmp_path / "orthanc", config=kept).start()
    try:
        assert "serve-folders" in server.get("/plugins")
    finally:
        server.stop()
