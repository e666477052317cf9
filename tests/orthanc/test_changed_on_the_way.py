"""Answers that aren't Orthanc's: login pages, and bytes that are cut or changed between Orthanc and the processor."""

from collections.abc import Iterator

import pytest

from autorthanc_spool.core.dicom import Instance, Level
from autorthanc_spool.core.errors import AnswerChanged, OrthancUnavailable
from autorthanc_spool.orthanc import client
from autorthanc_spool.orthanc.transfer import Transfer
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Fault, Proxy, status
from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

LOGIN = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.fixture
def proxy(orthanc: OrthancServer) -> Iterator[Proxy]:
    with Proxy(orthanc.http_port) as opened:
        yield opened


def first_instance(orthanc: OrthancServer, connection: client.Orthanc) -> Instance:
    study = orthanc.upload(datasets.make_instance())
    return connection.with_instances(connection.resource(Level.STUDY, study)).instances[0]


@pytest.mark.parametrize("path", ["/system", "/tools/now", "."], ids=["system", "now", "everything"])
def test_a_login_page_is_not_orthanc_and_the_address_is_said(site: Site, proxy: Proxy, path: str) -> None:
    proxy.add(Fault(path, answer=status(200, LOGIN)))
    site.variables["ORTHANC_URL"] = proxy.url
    site.rule("all")
    done = site.run("run", "--once", expect=75)
    assert f"{proxy.url}/" in done.stderr
    for word in ("ORTHANC_URL", "login"):
        assert word in done.stderr


def test_a_login_page_is_said_once_when_it_comes_and_once_when_it_goes(site: Site, proxy: Proxy) -> None:
    fault = proxy.add(Fault("/tools/now", answer=status(200, LOGIN)))
    site.variables["ORTHANC_URL"] = proxy.url
    study = site.orthanc.upload(datasets.make_instance())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.rule("all")
    site.touch(study)
    with site.processor():
        wait_until(lambda: fault.hits >= 4, 30, "it was looked at four times")
        assert site.states() == {"incoming": 1}
        proxy.heal()
        site.wait_states(done=1)
    log = site.log.read_text()
    assert log.count("/tools/now") == 1
    assert log.count("Orthanc: all right again") == 1


@pytest.mark.parametrize("sent", ["page", "shorter", "longer", "flipped"])
def test_a_file_that_is_changed_on_the_way_isnt_blamed_on_orthancs_storage(
    orthanc: OrthancServer, proxy: Proxy, sent: str
) -> None:
    connection = client.Orthanc(proxy.url, "orthanc", None)
    instance = first_instance(orthanc, connection)
    data = orthanc.bytes_of(instance.resource_id)
    body = {"page": LOGIN, "shorter": data[:-1], "longer": data + b"x", "flipped": data[:-1] + bytes([data[-1] ^ 1])}
    proxy.add(Fault("/attachments/dicom/data", answer=status(200, body[sent])))
    with pytest.raises(AnswerChanged, match="its stored file is whole") as caught:
        list(Transfer(connection, instance))
    assert caught.value.instance_id == instance.resource_id


def test_what_changes_on_the_way_costs_no_attempt(site: Site, proxy: Proxy) -> None:
    site.variables["ORTHANC_URL"] = proxy.url
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    proxy.add(Fault("/attachments/dicom/data", answer=status(200, LOGIN)))
    site.once(expect=None)
    (record,) = site.records("deferred")
    assert record["attempts"] == 0
    assert record["error"]["kind"] == "AnswerChanged"
    assert "whole" in record["error"]["text"]
    assert site.published("all") == []
    proxy.heal()
    site.run("requeue", "--deferred")
    site.once()
    assert site.states() == {"done": 1}


@pytest.mark.parametrize("body", [LOGIN, b'[{"ID": "0a4b249f-7fce45'], ids=["page", "cut"])
@pytest.mark.parametrize("path", ["/series", "/instances"])
def test_a_list_that_is_changed_on_the_way_costs_no_attempt(site: Site, proxy: Proxy, path: str, body: bytes) -> None:
    site.variables["ORTHANC_URL"] = proxy.url
    site.rule("all")
    study = site.orthanc.upload_all(datasets.make_study())
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    proxy.add(Fault(rf"/studies/{study}{path} ", answer=status(200, body)))
    site.once(expect=None)
    (record,) = site.records("deferred")
    assert (record["attempts"], record["error"]["kind"]) == (0, "AnswerChanged")


def test_without_an_etag_the_md5_is_asked_for(orthanc: OrthancServer, proxy: Proxy) -> None:
    connection = client.Orthanc(proxy.url, "orthanc", None)
    instance = first_instance(orthanc, connection)
    data = orthanc.bytes_of(instance.resource_id)
    proxy.add(Fault("/attachments/dicom/data", answer=status(200, data)))
    transfer = Transfer(connection, instance)
    assert b"".join(transfer) == data
    assert any("/attachments/dicom/md5" in line for line in proxy.requests)


def test_a_list_with_an_answer_of_another_program_is_unavailable(orthanc: OrthancServer, proxy: Proxy) -> None:
    proxy.add(Fault("/system", answer=status(200, b'{"status": "ok"}')))
    with pytest.raises(OrthancUnavailable, match="ORTHANC_URL"):
        client.Orthanc(proxy.url, "orthanc", None).system()
