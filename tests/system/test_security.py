"""Nothing gets out: modes, passwords, TLS, redirects, and the canaries of a patient in everything that is written."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool.core.dicom import Level
from autorthanc_spool.core.errors import OrthancFault, OrthancUnavailable
from autorthanc_spool.orthanc.client import Orthanc
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer, free_port
from tests.helpers.site import Site, send, send_and_touch
from tests.helpers.waiting import wait_until

NOWHERE = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"
PASSWORD = "CANARY-correct-horse"
CANARIES = ("CANARY", "19330303", "1933-03-03")
PATIENT: dict[str, Any] = {
    "PatientID": "CANARYID",
    "PatientName": "CANARYNAME^CANARYGIVEN",
    "PatientBirthDate": "19330303",
    "AccessionNumber": "CANARYACC",
    "ReferringPhysicianName": "CANARYDOCTOR^X",
}


# Modes


@pytest.mark.parametrize(("inherited", "variable"), [(0o022, "027"), (0o000, "000"), (0o077, "077"), (0o022, "007")])
def test_the_spool_is_for_its_group_and_nobody_else_whatever_the_umask(
    site: Site, inherited: int, variable: str
) -> None:
    site.variables |= {"AUTORTHANC_UMASK": variable, "AUTORTHANC_AUDIT_LOG": str(site.root / "audit.jsonl")}
    site.rule("all")
    study = send(site, datasets.make_instance())
    (site.output / "all").mkdir(parents=True)
    before = os.umask(inherited)
    try:
        site.run("enqueue", "study", study)
        site.run("enqueue", "study", NOWHERE)
        site.once(expect=1)
        site.run("enqueue", "study", study)
    finally:
        os.umask(before)
    assert site.states() == {"incoming": 1, "failed": 1, "done": 1}
    for path in [site.spool, *site.spool.rglob("*")]:
        mode = path.stat().st_mode & 0o7777
        is_private = path.relative_to(site.spool).parts[:1] in (("ledger",), ("state",))
        assert mode & 0o007 == 0, (path, oct(mode))
        if path.is_dir():
            assert mode == (0o2750 if is_private else 0o2770), (path, oct(mode))
        elif not is_private:
            assert mode == (0o640 if path.name == ".autorthanc" else 0o660), (path, oct(mode))
    assert (site.root / "audit.jsonl").stat().st_mode & 0o7777 == 0o640


# The password


def test_the_password_shows_nowhere(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> None:
    site = Site(tmp_path / "site", fresh_orthanc(lua=(), users={"orthanc": PASSWORD}))
    site.variables["AUTORTHANC_LOG_LEVEL"] = "debug"
    site.rule("all")
    send_and_touch(site, datasets.make_instance())
    with site.processor() as process:
        site.wait_states(done=1)
        assert PASSWORD not in Path(f"/proc/{process.pid}/cmdline").read_text()
        site.orthanc.kill()
        wait_until(lambda: "doesn't answer" in site.log_end(), 30, "the processor notices that Orthanc is away")
        site.orthanc.start()
        wait_until(lambda: "all right again" in site.log_end(), 30, "the processor notices that it is back")
    shown = site.log.read_text()
    for command in (["status", "--json"], ["doctor", "--json"], ["check"], ["reconcile"], ["list", "done", "--json"]):
        # `doctor` finds that no processor runs.
        done = site.run(*command, expect=1 if command[0] == "doctor" else 0)
        shown += done.stdout + done.stderr
    site.variables["ORTHANC_PASSWORD"] = f"{PASSWORD}-wrong"
    for command in (["run", "--once"], ["reconcile"], ["replay", "all"]):
        done = site.run(*command, expect=2)
        shown += done.stdout + done.stderr
    assert PASSWORD not in shown
    for path in site.spool.rglob("*"):
        assert path.is_dir() or PASSWORD not in path.read_text(), path


def test_a_password_among_the_options_is_refused(site: Site) -> None:
    done = site.run("status", "--set", f"ORTHANC_PASSWORD={PASSWORD}", expect=2)
    assert "ORTHANC_PASSWORD_FILE" in done.stderr
    assert PASSWORD not in done.stderr


# The way to Orthanc


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate for 127.0.0.1 by it, and one for another name."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    subject = ("-subj", "/CN=test")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", *subject)
    openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "no.key", "-out", "other-ca.pem", "-subj", "/CN=x"
    )
    for name, san in (("right", "IP:127.0.0.1"), ("wrong", "DNS:elsewhere.example")):
        (folder / f"{name}.cnf").write_text(f"subjectAltName={san}\n")
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=s"
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-extfile", f"{name}.cnf", "-out", f"{name}.crt"),
        )
        pair = (folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text()
        (folder / f"{name}.pem").write_text(pair)
    return folder


NGINX = """
daemon off;
error_log stderr;
pid {folder}/nginx.pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {pair};
    ssl_certificate_key {pair};
    location / {{ proxy_pass {orthanc}; proxy_http_version 1.1; }}
  }}
}}
"""


@pytest.fixture
def tls_site(site: Site, certificates: Path, tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    """Puts TLS before the site's Orthanc, with one of the certificates."""
    started: list[subprocess.Popen[bytes]] = []

    def make(name: str) -> Site:
        folder, port = tmp_path / "nginx", free_port()
        folder.mkdir()
        text = NGINX.format(folder=folder, port=port, pair=certificates / f"{name}.pem", orthanc=site.orthanc.url)
        (folder / "nginx.conf").write_text(text)
        with (folder / "log").open("wb") as log:
            started.append(subprocess.Popen(["/usr/sbin/nginx", "-c", str(folder / "nginx.conf")], stderr=log))
        wait_until(lambda: _listens(port), 20, f"nginx listens: {(folder / 'log').read_text()}")
        site.variables["ORTHANC_URL"] = f"https://127.0.0.1:{port}"
        site.variables["AUTORTHANC_CA_FILE"] = str(certificates / "ca.pem")
        site.rule("all")
        return site

    yield make
    for process in started:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_study_is_fetched_from_an_orthanc_with_tls(tls_site: Callable[[str], Site]) -> None:
    site = tls_site("right")
    send_and_touch(site, *datasets.make_study())
    site.once()
    assert site.published("all") == ["PAT1-FamilyPAT1-1"]
    assert "ok       transport" in site.run("doctor", expect=None).stdout


@pytest.mark.parametrize("ca", ["other-ca.pem", ""])
def test_a_certificate_of_another_authority_is_refused(
    tls_site: Callable[[str], Site], certificates: Path, ca: str
) -> None:
    site = tls_site("right")
    site.variables["AUTORTHANC_CA_FILE"] = str(certificates / ca) if ca else ""
    assert "AUTORTHANC_CA_FILE" in site.run("reconcile", expect=75).stderr


def test_a_certificate_of_another_machine_is_refused(tls_site: Callable[[str], Site]) -> None:
    assert "certificate" in tls_site("wrong").run("reconcile", expect=75).stderr


def test_a_ca_file_that_holds_no_certificate_is_reported(tls_site: Callable[[str], Site]) -> None:
    site = tls_site("right")
    (site.root / "ca.pem").write_text("no certificate")
    site.variables["AUTORTHANC_CA_FILE"] = str(site.root / "ca.pem")
    done = site.run("reconcile", expect=2)
    assert "holds no certificate" in done.stderr


class Impostor:
    """Something on 127.0.0.1 that isn't Orthanc: answers as told, and keeps what it was sent."""

    def __init__(self, answer: Callable[[str], tuple[int, dict[str, str], bytes]]) -> None:
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def impostor() -> Iterator[Callable[..., Impostor]]:
    started: list[Impostor] = []

    def start(answer: Callable[[str], tuple[int, dict[str, str], bytes]]) -> Impostor:
        started.append(Impostor(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_does_not_carry_the_password_elsewhere(impostor: Callable[..., Impostor], status: int) -> None:
    elsewhere = impostor(lambda path: (200, {}, b"{}"))
    first = impostor(lambda path: (status, {"Location": f"{elsewhere.url}{path}"}, b""))
    with pytest.raises(OrthancUnavailable, match="redirects"):
        Orthanc(first.url, "orthanc", PASSWORD).system()
    assert len(first.headers) == 1
    assert elsewhere.headers == []


HOSTILE_IDS = ["../../etc/passwd", f"{NOWHERE}/../..", "", NOWHERE.upper(), f"{NOWHERE}\n", f"{NOWHERE}?x", 7, None]


@pytest.mark.parametrize("hostile", HOSTILE_IDS)
def test_an_id_that_orthanc_made_up_reaches_no_url_and_no_path(
    impostor: Callable[..., Impostor], hostile: object
) -> None:
    study = {"ID": NOWHERE, "LastUpdate": "20260101T000000", "IsStable": True, "MainDicomTags": {}}
    answers: dict[str, object] = {
        f"/studies/{NOWHERE}": study,
        f"/studies/{NOWHERE}/series": [{**study, "ID": hostile}],
        "/studies?expand": [{**study, "ID": hostile}],
    }
    server = impostor(lambda path: (200, {}, json.dumps(answers[path]).encode()))
    orthanc = Orthanc(server.url, "orthanc", None)
    with pytest.raises(OrthancFault, match="something that isn't an ID"):
        orthanc.resource(Level.STUDY, NOWHERE)
    with pytest.raises(OrthancFault, match="something that isn't an ID"):
        orthanc.studies()


@pytest.mark.parametrize("hostile", ["../../system", f"{NOWHERE}/../x", f"{NOWHERE}%2e", "x" * 5000, "\0", "‮" * 44])
def test_a_marker_s_id_is_looked_at_before_it_reaches_a_url(site: Site, hostile: str) -> None:
    site.rule("all")
    site.run("status")
    (site.spool / "incoming" / "x.json").write_text(json.dumps({"level": "study", "id": hostile}))
    site.once(expect=1)
    assert site.records("failed")[0]["error"]["kind"] == "MarkerError"
    log = site.orthanc.log.read_text(errors="replace")
    assert "/../" not in log


# The output


@pytest.mark.parametrize("planted", ["PAT1-FamilyPAT1-1", "PAT1-FamilyPAT1-1.WORKING", "PAT1-FamilyPAT1-1.zip"])
@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_a_link_planted_in_a_rule_s_folder_leads_nowhere(site: Site, planted: str, action: str) -> None:
    outside = site.root / "outside"
    outside.mkdir()
    site.rule("all", Action=action)
    study = send(site, datasets.make_instance())
    (site.output / "all").mkdir(parents=True)
    (site.output / "all" / planted).symlink_to(outside)
    site.touch(study)
    site.once()
    assert os.listdir(outside) == []
    assert (site.output / "all" / planted).is_symlink()
    assert len([name for name in site.published("all") if study[:8] in name]) == 1


RULE_NAMES = ["...", "-rf", "a b", "ø", "x" * 200, "CON", "a\u202eb", "a:b", "%2e%2e", "~", ".WORKING", "MIResearch-x"]


@pytest.mark.parametrize("name", RULE_NAMES)
def test_no_rule_s_name_leads_out_of_the_output(site: Site, name: str) -> None:
    path = site.rule("plain")
    path.rename(site.rules / f"{name}.json")
    before = sorted(one.name for one in site.root.iterdir())
    send_and_touch(site, datasets.make_instance())
    site.once()
    made = [one for one in site.output.iterdir() if one.name != ".autorthanc"]
    hidden = name.startswith(".")
    assert len(made) == (0 if hidden else 1)
    for one in made:
        assert os.listdir(one) == ["PAT1-FamilyPAT1-1"]
        assert not one.name.startswith((".", "-"))
        assert ".WORKING" not in one.name
        assert len(one.name.encode()) <= 200
    assert {one.name for one in site.root.iterdir()} - set(before) <= {"output", "spool"}


# Canaries


def without_names(content: Any) -> Any:
    """A record without what is known to hold the output's name: paths in markers, names in the ledger."""
    if isinstance(content, dict):
        told = {"path", "kept", "name", "parked_name"}
        return {key: without_names(value) for key, value in content.items() if key not in told or key == "filed"}
    return [without_names(one) for one in content] if isinstance(content, list) else content


def written(site: Site) -> Iterator[tuple[str, str]]:
    """All that was written outside the output: where, and what but for the output's names."""
    for path in [*site.spool.rglob("*"), *site.root.glob("*.log"), *site.root.glob("*.jsonl")]:
        yield f"the name {path}", str(path.relative_to(site.root))
        if path.is_file():
            text = path.read_text(errors="backslashreplace")
            is_record = path.suffix == ".json" and path.is_relative_to(site.spool)
            yield (
                str(path),
                json.dumps(without_names(json.loads(text or "{}")), ensure_ascii=False) if is_record else text,
            )


def assert_no_canary(where: str, text: str) -> None:
    found = [canary for canary in CANARIES if canary in text]
    assert not found, (where, found, text[-2000:])


class Canaries:
    """Runs commands, and looks at all that they say."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def run(self, *arguments: str, expect: int | None = 0) -> str:
        done = self.site.run(*arguments, expect=expect)
        assert_no_canary(" ".join(arguments), done.stdout + done.stderr)
        return done.stdout + done.stderr

    def once(self, expect: int | None = 0) -> str:
        return self.run("run", "--once", expect=expect)

    def look(self) -> None:
        for where, text in written(self.site):
            assert_no_canary(where, text)


@pytest.fixture
def canaries(tmp_path: Path, fresh_orthanc: Callable[..., OrthancServer]) -> Canaries:
    site = Site(tmp_path / "site", fresh_orthanc(lua=()))
    site.variables |= {"AUTORTHANC_AUDIT_LOG": str(site.root / "audit.jsonl"), "AUTORTHANC_LOG_LEVEL": "debug"}
    return Canaries(site)


def patient(number: int = 1, **tags: Any) -> bytes:
    return datasets.make_instance(f"CANARY{number}", f"{number}", **{**PATIENT, **tags})


def test_no_canary_gets_out_of_work_that_succeeds(canaries: Canaries) -> None:
    site = canaries.site
    site.rule("folder")
    site.rule("archive", Action=["DOWNLOAD", "ZIP"])
    site.rule("anonymous", Action=["ANONYMISE"], Anonymise={"Project": "trial"})
    site.rule("series", CheckOn="Series")
    study = send_and_touch(site, patient())
    canaries.once(expect=None)
    assert "CANARYID-CANARYNAME-1" in site.published("folder"), "the canary is in the output"
    (site.output / "folder" / "CANARYID-CANARYNAME-1" / "added.txt").write_text("keep")
    site.orthanc.upload(datasets.make_instance("CANARY1", "1", 2, **PATIENT))
    site.orthanc.wait_stable(f"/studies/{study}")
    canaries.run("reconcile")
    canaries.run("enqueue", "study", study)
    canaries.once(expect=None)
    assert any(".WORKING" in name for name in site.published("folder")), "one was parked and kept"
    canaries.run("prune")
    canaries.look()


def test_no_canary_gets_out_of_work_that_fails(canaries: Canaries) -> None:
    site = canaries.site
    site.rule("good")
    site.rule("linked")
    canaries.once()
    (site.output / "linked").rmdir()
    (site.output / "linked").symlink_to(site.root)
    damaged = send_and_touch(site, patient(1))
    stored = site.orthanc.stored_file(site.orthanc.get(f"/studies/{damaged}/instances")[0]["ID"])
    data = bytearray(stored.read_bytes())
    data[-1] ^= 1
    stored.write_bytes(data)
    site.orthanc.restart()
    site.touch(NOWHERE)
    canaries.once(expect=1)
    kinds = {record["error"]["kind"] for state in ("failed", "deferred") for record in site.records(state)}
    assert kinds >= {"ResourceMissing"}
    assert kinds & {"InstanceError", "OutputConflict"}
    (site.rules / "good.json").write_text("{")
    send_and_touch(site, patient(2))
    canaries.once(expect=None)
    canaries.look()


def test_no_canary_gets_out_of_trouble_with_the_disk_and_of_a_bug(canaries: Canaries) -> None:
    site = canaries.site
    site.rule("all")
    canaries.once()
    study = send_and_touch(site, patient())
    site.output.rename(site.root / "unmounted")
    site.output.mkdir()
    canaries.once(expect=75)
    assert [record["error"]["kind"] for record in site.records("deferred")] == ["FolderMissing"]
    site.output.rmdir()
    (site.root / "unmounted").rename(site.output)
    # A limit on the size of files is an error of the system that nobody foresaw: its text names the file.
    program = (
        "import resource, signal, sys; from autorthanc_spool.commands.main import _exit_code\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "sys.exit(_exit_code(['run', '--once']))"
    )
    large = send(site, patient(3, Rows=128, Columns=128, PixelData=bytes(2 * 128 * 128)))
    canaries.run("requeue", "--deferred")
    canaries.run("enqueue", "study", large)
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=site.root,
        env=site.environment,
        capture_output=True,
        text=True,
    )
    assert_no_canary("a limit on files", done.stdout + done.stderr)
    records = [record for state in ("failed", "deferred") for record in site.records(state)]
    assert [record["id"] for record in records] == [large]
    assert study in {record["id"] for record in site.records("done")}
    canaries.look()


def test_no_canary_gets_out_of_any_command(canaries: Canaries) -> None:
    site = canaries.site
    site.rule("all")
    study = send_and_touch(site, patient())
    canaries.once()
    done = site.markers("done")[0].name
    canaries.run("status")
    canaries.run("status", "--json")
    canaries.run("list", "done")
    canaries.run("list", "done", "--json")
    canaries.run("replay", "all", "--json")
    canaries.run("replay", "all", "--dry-run")
    canaries.run("doctor", expect=None)
    canaries.run("check")
    site.touch(NOWHERE)
    canaries.run("show", NOWHERE)
    canaries.run("delete", NOWHERE)
    canaries.run("requeue", done)
    canaries.run("hold", site.markers("incoming")[0].name)
    canaries.run("release", site.markers("hold")[0].name)
    canaries.run("enqueue", "study", study)
    canaries.run("delete", site.markers("incoming")[0].name)
    canaries.look()
