"""`Files` names files in one order, however many threads fetch them, and whatever happens to each."""

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool import rules
from autorthanc_spool.actions import Job, Product
from autorthanc_spool.actions.download import Download
from autorthanc_spool.core.dicom import Instance, Level
from autorthanc_spool.core.errors import InstanceError, Interrupted
from autorthanc_spool.core.template import Template, Value
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.outgoing.fetching import in_order
from autorthanc_spool.outgoing.sources import Originals
from autorthanc_spool.output.folders import Output
from autorthanc_spool.output.rights import Rights
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer

# All of them want the same name.
TEMPLATE = Template(((Value("Modality", "0008,0060"),),))
THREADS = 4


class LastFirst(Originals):
    """Content whose first file comes only when as many others as there are threads were begun."""

    begun: threading.Semaphore

    def open(self, instance: Instance) -> Any:
        first = in_order(self._resource.instances)[0]
        if instance == first:
            for _ in range(THREADS - 1):
                assert self.begun.acquire(timeout=60)
        else:
            self.begun.release()
        return super().open(instance)


class Failing(LastFirst):
    """Content whose first file can't be read, as is found when others wait for it."""

    def open(self, instance: Instance) -> Any:
        stream = super().open(instance)
        if instance == in_order(self._resource.instances)[0]:
            raise InstanceError(instance.resource_id, "it can't be read")
        return stream


class Withholding(LastFirst):
    """Content whose first file is withheld."""

    def open(self, instance: Instance) -> Any:
        stream = super().open(instance)
        return None if instance == in_order(self._resource.instances)[0] else stream


class Stopping(LastFirst):
    """Content that is asked to stop when others wait for its first file."""

    stop: threading.Event

    def open(self, instance: Instance) -> Any:
        stream = super().open(instance)
        if instance == in_order(self._resource.instances)[0]:
            self.stop.set()
            raise Interrupted("stopped")
        return stream


@pytest.fixture
def client(orthanc: OrthancServer) -> Orthanc:
    return Orthanc(orthanc.url, "", None, connections=THREADS)


def run(kind: type[Originals], orthanc: OrthancServer, client: Orthanc, folder: Path) -> tuple[Product, Job]:
    """Publish a study by several threads."""
    (study,) = {orthanc.upload_all(datasets.make_study(series=2, instances=5))}
    resource = client.with_instances(client.resource(Level.STUDY, study))
    content, stop = kind(client, resource, verify_md5=True), threading.Event()
    content.begun, content.stop = threading.Semaphore(0), stop  # type: ignore[attr-defined]
    rule = replace(rules.Rule("all", Level.STUDY), files=TEMPLATE)
    job = Job(rule, resource, content, stop, THREADS)
    folder.mkdir()
    with (
        Output(folder, Rights(None, 0o027, "output")).rule_folder("all") as opened,
        closing(opened.make_working("N")) as working,
    ):
        return Download().run(job, "N", working), job


def paths(product: Product) -> list[tuple[str, str]]:
    return sorted((file.md5, file.path) for file in product.files)


def test_who_is_first_decides_not_who_comes_first(orthanc: OrthancServer, client: Orthanc, tmp_path: Path) -> None:
    late, _ = run(LastFirst, orthanc, client, tmp_path / "late")
    plain, job = run(Originals, orthanc, client, tmp_path / "plain")
    assert paths(late) == paths(plain)
    assert len({path for _, path in paths(plain)}) == len(job.resource.instances) == 10


def test_of_a_withheld_file_nobody_waits_and_the_next_one_has_its_name(
    orthanc: OrthancServer, client: Orthanc, tmp_path: Path
) -> None:
    product, _ = run(Withholding, orthanc, client, tmp_path / "out")
    assert len(product.files) == 9
    assert "CT.dcm" in {file.path for file in product.files}


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("kind", "error"), [(Failing, InstanceError), (Stopping, Interrupted)])
def test_where_the_first_one_fails_those_that_wait_for_it_end(
    kind: type[Originals], error: type[Exception], orthanc: OrthancServer, client: Orthanc, tmp_path: Path
) -> None:
    with pytest.raises(error):
        run(kind, orthanc, client, tmp_path / "out")
