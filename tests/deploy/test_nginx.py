"""The web port: a real nginx with the shipped configuration before a real Orthanc."""

import getpass
import http.client
import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, PLUGINS, ask, dicom_file, free_port, orthanc, running

USER = "orthanc:secret"
VIEWER = "http://localhost:3000"
# nginx's own limit is 1 MiB unless the configuration lifts it.
LARGE_BYTES = 3 * 1024 * 1024


def configuration(folder: Path, upstream: str, port: int, extra: str) -> Path:
    """Write the shipped file with this machine's ports and places instead of the container's."""
    text = (CHECKOUT / "deploy/nginx/nginx.conf").read_text()
    changes = {
        "http://orthanc:8042": upstream,
        "listen 8080": f"listen 127.0.0.1:{port}",
        "/tmp/": f"{folder}/",
        "/etc/nginx/autorthanc.d/*.conf": f"{folder}/{extra}",
        "/spool/state": f"{folder}/state",
        "/dev/stdout": f"{folder}/access.log",
        "/dev/stderr": f"{folder}/error.log",
    }
    for old, new in changes.items():
        assert text.count(old), old
        text = text.replace(old, new)
    (folder / "resolver.conf").write_text("resolver 127.0.0.1;\n")
    file = folder / "nginx.conf"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("nginx")
    shutil.copy(CHECKOUT / "deploy/nginx/ohif.conf", made)
    return made


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[str]:
    port = free_port()
    plugins = [str(PLUGINS / "libOrthancDicomWeb.so")]
    with orthanc(folder / "orthanc", user=USER, Plugins=plugins) as upstream:
        file = configuration(folder, upstream, port, "ohif.conf")
        # As root, nginx would read the page as nobody.
        options = f"daemon off; user {getpass.getuser()};"
        with running(["/usr/sbin/nginx", "-c", str(file), "-g", options], port, folder / "nginx.log"):
            yield f"http://127.0.0.1:{port}"


def test_nginx_accepts_the_configuration(folder: Path, tmp_path: Path) -> None:
    file = configuration(tmp_path, "http://127.0.0.1:1", free_port(), "none-*.conf")
    done = subprocess.run(["/usr/sbin/nginx", "-t", "-c", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # A warning would be a directive that does nothing.
    assert "[warn]" not in done.stderr


def test_orthanc_asks_for_the_password_through_nginx(web: str) -> None:
    assert ask(f"{web}/system").status == 401
    assert ask(f"{web}/system", user="orthanc:wrong").status == 401
    assert ask(f"{web}/system", user=USER).status == 200


def test_a_large_file_goes_in_and_comes_out_unchanged(web: str) -> None:
    sent = dicom_file(LARGE_BYTES)
    answer = ask(f"{web}/instances", method="POST", data=sent, user=USER)
    assert answer.status == 200
    assert ask(f"{web}/instances/{answer.json()['ID']}/file", user=USER).body == sent


def test_an_archive_comes_through(web: str) -> None:
    answer = ask(f"{web}/instances", method="POST", data=dicom_file(1000), user=USER).json()
    archive = ask(f"{web}/studies/{answer['ParentStudy']}/archive", user=USER).body
    assert len(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == 1


def test_an_upload_without_a_length_goes_in(web: str) -> None:
    host = web.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    data = dicom_file(200_000)
    chunks = (data[start : start + 65536] for start in range(0, len(data), 65536))
    authorization = "Basic b3J0aGFuYzpzZWNyZXQ="
    connection.request(
        "POST",
        "/instances",
        chunks,
        {"Authorization": authorization, "Transfer-Encoding": "chunked"},
        encode_chunked=True,
    )
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()


def test_the_prefix_of_earlier_bookmarks_works(web: str) -> None:
    assert ask(f"{web}/orthanc/system", user=USER).json() == ask(f"{web}/system", user=USER).json()


def test_encoded_characters_reach_orthanc_as_they_are(web: str) -> None:
    # A slash in a name: nginx must not decode it.
    assert ask(f"{web}/modalities/a%2Fb", user=USER).status == 404
    assert ask(f"{web}/studies?limit=1&since=0", user=USER).status == 200


def test_nginx_reports_its_own_health_without_a_password(web: str) -> None:
    assert ask(f"{web}/autorthanc-health").body == b"autorthanc\n"


@pytest.mark.parametrize(("path", "kind"), [("", "text/html; charset=utf-8"), ("status.json", "application/json")])
def test_the_page_of_the_processor_is_for_orthancs_users(web: str, folder: Path, path: str, kind: str) -> None:
    state = folder / "state"
    state.mkdir(exist_ok=True)
    (state / "status.html").write_text("<!doctype html>All right")
    (state / "status.json").write_text('{"healthy": true}')
    (state / "baseline.json").write_text("{}")
    for user in (None, "orthanc:wrong"):
        answer = ask(f"{web}/automation/{path}", **({"user": user} if user else {}))
        assert (answer.status, b"right" in answer.body, b"healthy" in answer.body) == (401, False, False)
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    answer = ask(f"{web}/automation/{path}", user=USER)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.body == (state / (path or "status.html")).read_bytes()
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["automation/baseline.json", "automation/../state/baseline.json", "automation/%2e%2e/baseline.json",
             "automation/status.html/", "autorthanc-user", "state/baseline.json"]
)  # fmt: skip
def test_nothing_else_of_the_spool_has_an_address(web: str, path: str) -> None:
    assert ask(f"{web}/{path}", user=USER).status == 404


def test_the_page_without_a_slash_leads_to_it_and_one_that_is_not_there_yet_is_missing(web: str, folder: Path) -> None:
    shutil.rmtree(folder / "state", ignore_errors=True)
    assert ask(f"{web}/automation/", user=USER).status == 404
    connection = http.client.HTTPConnection(web.removeprefix("http://"), timeout=60)
    connection.request("GET", "/automation")
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, "/automation/")
    connection.close()


def test_a_patients_name_in_a_query_is_in_no_log(web: str, folder: Path) -> None:
    ask(f"{web}/dicom-web/studies?PatientName=DOE", user=USER)
    ask(f"{web}/dicom-web/studies?PatientName=DOE")
    logs = (folder / "access.log").read_text() + (folder / "error.log").read_text()
    assert "/dicom-web/studies" in logs
    assert "DOE" not in logs


def test_nginx_alone_answers_502_and_comes_back_with_orthanc(tmp_path: Path) -> None:
    port, orthanc_port = free_port(), free_port()
    file = configuration(tmp_path, f"http://127.0.0.1:{orthanc_port}", port, "none-*.conf")
    web = f"http://127.0.0.1:{port}"
    with running(["/usr/sbin/nginx", "-c", str(file), "-g", "daemon off;"], port, tmp_path / "nginx.log"):
        assert ask(f"{web}/system", user=USER).status == 502
        answer = ask(f"{web}/automation/", user=USER)
        assert (answer.status, b"state/status.html" in answer.body) == (503, True)
        with orthanc(tmp_path / "orthanc", USER, orthanc_port):
            assert ask(f"{web}/system", user=USER).status == 200


def test_a_viewer_may_ask_before_it_asks(web: str) -> None:
    answer = ask(
        f"{web}/dicom-web/studies", method="OPTIONS", Origin=VIEWER, Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="authorization",
    )  # fmt: skip
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_a_viewer_may_read_studies_with_the_password(web: str) -> None:
    answer = ask(f"{web}/dicom-web/studies", user=USER, Origin=VIEWER, Accept="application/dicom+json")
    assert answer.status == 200
    assert isinstance(json.loads(answer.body), list)
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    # The browser shows a refusal to the viewer only with the header on it.
    refused = ask(f"{web}/dicom-web/studies", Origin=VIEWER)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, VIEWER)


def test_only_the_viewers_path_is_open_to_other_pages(web: str) -> None:
    assert "Access-Control-Allow-Origin" not in ask(f"{web}/system", user=USER, Origin=VIEWER).headers


def test_the_start_script_takes_the_networks_name_server() -> None:
    script = (CHECKOUT / "deploy/nginx/start.sh").read_text()
    program = re.search(r"awk '(.*?)' /etc/resolv.conf", script, re.DOTALL)
    assert program is not None
    for given, wanted in {"10.89.0.1": "10.89.0.1", "fd00::1": "[fd00::1]"}.items():
        text = f"search x.example\nnameserver {given}\nnameserver 192.0.2.9\n"
        done = subprocess.run(["awk", program[1]], input=text, capture_output=True, text=True, check=True)
        assert done.stdout == f"resolver {wanted} valid=10s ipv6=off;\n"
