"""What `orthanc.py` promises, against real Orthanc."""

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from autorthanc_spool.core.dicom import Instance, Level
from autorthanc_spool.core.errors import (
    InstanceError,
    OrthancFault,
    OrthancUnavailable,
    PasswordRefused,
    ResourceMissing,
    SettingsError,
    StillArriving,
)
from autorthanc_spool.orthanc import client as client
from autorthanc_spool.orthanc.transfer import Transfer
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer, free_port
from tests.helpers.proxy import Fault, Proxy, status

Start = Callable[..., OrthancServer]
NOWHERE = "0a4b249f-7fce45ca-4f722f72-de2a24df-92abc740"


def connect(server: OrthancServer, password: str | None = None) -> client.Orthanc:
    return client.Orthanc(server.url, "orthanc", password)


def test_a_study_is_read_with_its_series_and_instances(orthanc: OrthancServer) -> None:
    study = orthanc.upload_all(datasets.make_study("P1", "7", series=2, instances=3))
    found = connect(orthanc).with_instances(connect(orthanc).resource(Level.STUDY, study))
    assert found.patient_tags["PatientID"] == "P1"
    assert found.study_tags["StudyID"] == "7"
    assert {series.tags["SeriesNumber"] for series in found.series} == {"1", "2"}
    assert len(found.instances) == 6
    assert {one.series_id for one in found.instances} == {series.resource_id for series in found.series}
    assert not found.is_copy


def test_orthanc_may_lie_below_a_path(orthanc: OrthancServer) -> None:
    with Proxy(orthanc.http_port) as proxy:
        proxy.add(Fault(r"^GET /pacs/system ", answer=status(200, b'{"Version": "of the path"}')))
        assert client.Orthanc(f"{proxy.url}/pacs/", "orthanc", None).system()["Version"] == "of the path"


def test_an_address_that_is_not_one_is_reported() -> None:
    with pytest.raises(SettingsError, match="ORTHANC_URL"):
        client.Orthanc("http://[zz]:8042", "orthanc", None)


def test_a_series_is_read_with_its_study_and_patient(orthanc: OrthancServer) -> None:
    orthanc.upload_all(datasets.make_study("P1", "7", series=2))
    series = orthanc.get("/series")[0]
    found = connect(orthanc).with_instances(connect(orthanc).resource(Level.SERIES, series))
    assert [one.resource_id for one in found.series] == [series]
    assert found.patient_tags["PatientID"] == "P1"
    assert found.study_tags["StudyID"] == "7"
    assert len(found.instances) == 3


def test_the_first_instance_is_the_one_of_the_lowest_number(orthanc: OrthancServer) -> None:
    for number in (10, 9, 2):
        study = orthanc.upload(datasets.make_instance(instance=number, ProtocolName=f"number {number}"))
    connection = connect(orthanc)
    resource = connection.with_instances(connection.resource(Level.STUDY, study))
    found = connection.with_first_instances(resource, frozenset(one.resource_id for one in resource.series))
    assert found.series[0].first_instance_tags is not None
    assert found.series[0].first_instance_tags["0018,1030"] == "number 2"


def test_a_download_gives_the_bytes_that_were_received(orthanc: OrthancServer) -> None:
    data = datasets.make_instance(size=300)
    study = orthanc.upload(data)
    connection = connect(orthanc)
    resource = connection.with_instances(connection.resource(Level.STUDY, study))
    transfer = Transfer(connection, resource.instances[0])
    assert b"".join(transfer) == data
    assert (transfer.size_bytes, transfer.md5) == (len(data), hashlib.md5(data).hexdigest())


@pytest.mark.parametrize(("damage", "says"), [("flipped", "MD5"), ("cut", "bytes of"), ("missing", "500")])
def test_a_damaged_file_is_refused_and_named(fresh_orthanc: Start, damage: str, says: str) -> None:
    server = fresh_orthanc(lua=())
    study = server.upload(datasets.make_instance())
    path = server.stored_file(server.get("/instances")[0])
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        data[-1] ^= 1
        path.write_bytes(data if damage == "flipped" else data[:-1])
    # Orthanc keeps what it stored lately in memory.
    server.restart()
    connection = connect(server)
    resource = connection.with_instances(connection.resource(Level.STUDY, study))
    with pytest.raises(InstanceError, match=says) as caught:
        b"".join(Transfer(connection, resource.instances[0]))
    assert caught.value.instance_id == resource.instances[0].resource_id


def test_by_size_alone_the_md5_is_what_orthanc_says(fresh_orthanc: Start) -> None:
    server = fresh_orthanc(lua=())
    data = datasets.make_instance()
    study = server.upload(data)
    path = server.stored_file(server.get("/instances")[0])
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes(flipped)
    server.restart()
    transfer = Transfer(connect(server), first_instance(connect(server), study), verify_md5=False)
    # Whoever compares the files with the record later finds it.
    assert b"".join(transfer) == flipped
    assert transfer.md5 == hashlib.md5(data).hexdigest()


def first_instance(connection: client.Orthanc, study: str) -> Instance:
    return connection.with_instances(connection.resource(Level.STUDY, study)).instances[0]


def read(transfer: Transfer, *, gives_up: bool) -> None:
    for _ in transfer:
        if gives_up:
            raise InstanceError("", "as a full disk does")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trouble", ["refused", "left unread", "cut"])
def test_no_connection_is_lost_by_transfers_that_fail(orthanc: OrthancServer, trouble: str) -> None:
    """The pool waits for a connection when all are lent: a lost one is lost permanently."""
    study = orthanc.upload(datasets.make_instance(size=600))
    with Proxy(orthanc.http_port) as proxy:
        connection = client.Orthanc(proxy.url, "orthanc", None, connections=2)
        instance = first_instance(connection, study)
        if trouble == "refused":
            proxy.add(Fault("/attachments/", answer=status(500)))
        if trouble == "cut":
            proxy.add(Fault("/attachments/", cut_after=100_000))
        for _ in range(5):
            with pytest.raises(InstanceError):
                read(Transfer(connection, instance), gives_up=trouble == "left unread")
        proxy.heal()
        assert sum(map(len, Transfer(connection, instance))) == instance.file_size_bytes


def test_an_answer_that_was_left_unread_is_closed_where_its_connection_ends_with_it(orthanc: OrthancServer) -> None:
    study = orthanc.upload(datasets.make_instance(size=600))
    with Proxy(orthanc.http_port) as proxy:
        connection = client.Orthanc(proxy.url, "orthanc", None)
        instance = first_instance(connection, study)
        proxy.add(Fault("/attachments/", answer=status(500)))
        with connection.open(instance) as response:
            assert response.headers["Connection"] == "close"
        assert response.isclosed()


def test_whoever_waits_for_a_silent_orthanc_hears_it_each_time_it_is_asked_again(
    orthanc: OrthancServer, caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy(orthanc.http_port) as proxy:
        connection = client.Orthanc(proxy.url, "orthanc", None)
        proxy.add(Fault("/system", stall_after=0))
        with pytest.raises(OrthancUnavailable, match="no answer in time"):
            connection.system(read_timeout_s=0.2, resends=2)
    ours = [record for record in caplog.records if record.name.startswith("autorthanc_spool")]
    assert [record.getMessage() for record in ours] == ["Orthanc hasn't answered in time; it is asked again"] * 2


@pytest.mark.parametrize("path", ["/attachments/", "/series"])
def test_behind_a_reverse_proxy_an_orthanc_that_is_away_is_away(orthanc: OrthancServer, path: str) -> None:
    """Then everything is answered with 502: no instance is to blame."""
    study = orthanc.upload(datasets.make_instance())
    with Proxy(orthanc.http_port) as proxy:
        connection = client.Orthanc(proxy.url, "orthanc", None)
        instance = first_instance(connection, study)
        proxy.add(Fault(f"{path}|/system", answer=status(502)))
        with pytest.raises(OrthancUnavailable):
            list(Transfer(connection, instance)) if path == "/attachments/" else connection.resource(Level.STUDY, study)


def test_a_study_whose_series_never_agree_with_its_instances_is_left_for_later(orthanc: OrthancServer) -> None:
    study = orthanc.upload(datasets.make_instance())
    with Proxy(orthanc.http_port) as proxy:
        connection = client.Orthanc(proxy.url, "orthanc", None)
        proxy.add(Fault(rf"/studies/{study}/series", answer=status(200, b"[]")))
        with pytest.raises(StillArriving):
            first_instance(connection, study)


def test_an_unknown_resource_is_said_to_be_missing(orthanc: OrthancServer) -> None:
    for level in Level:
        with pytest.raises(ResourceMissing, match=f"no such {level}"):
            connect(orthanc).resource(level, NOWHERE)


def test_an_id_that_is_not_one_never_reaches_a_url(orthanc: OrthancServer) -> None:
    with pytest.raises(OrthancFault):
        connect(orthanc).resource(Level.STUDY, "../system")


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(OrthancUnavailable, match="ORTHANC_URL"):
        client.Orthanc(f"http://127.0.0.1:{free_port()}", "orthanc", None).system()


def test_a_wrong_password_is_refused_and_never_shown(fresh_orthanc: Start) -> None:
    server = fresh_orthanc(lua=(), users={"orthanc": "right"})
    assert connect(server, "right").system()["Version"]
    with pytest.raises(PasswordRefused) as caught:
        connect(server, "wr0ngsecret").system()
    assert "wr0ngsecret" not in str(caught.value)
    with pytest.raises(PasswordRefused):
        connect(server, "wr0ngsecret").studies()


@contextmanager
def answering(text: bytes) -> Iterator[str]:
    """A server that says the same to everybody, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(text)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
)
def test_what_is_not_orthanc_is_not_taken_for_it(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises((OrthancFault, OrthancUnavailable)):
        client.Orthanc(url, "orthanc", None).system()


def test_all_studies_are_listed_with_what_shows_whether_they_changed(orthanc: OrthancServer) -> None:
    ids = {orthanc.upload_all(datasets.make_study(f"P{number}", series=1)) for number in range(3)}
    found = connect(orthanc).studies()
    assert {one.resource_id for one in found} == ids
    assert all(one.last_update_time and len(one.series) == 1 for one in found)


def test_copies_that_orthanc_made_are_known_as_such(orthanc: OrthancServer) -> None:
    study = orthanc.upload(datasets.make_instance())
    copy = orthanc.post(f"/studies/{study}/anonymize", {})["ID"]
    assert connect(orthanc).resource(Level.STUDY, copy).is_copy
    assert not connect(orthanc).resource(Level.STUDY, study).is_copy
