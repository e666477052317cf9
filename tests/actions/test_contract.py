"""The contract of all actions: whatever is in the registry is tested here, without being named."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autorthanc_spool import rules
from autorthanc_spool.actions import (
    ACTIONS,
    WORDS,
    Delivery,
    Job,
    Product,
    PublishingAction,
    SendingAction,
    Sent,
)
from autorthanc_spool.core.dicom import Instance, Level
from autorthanc_spool.core.errors import DestinationUnavailable, InstanceError, Interrupted, UnknownModality
from autorthanc_spool.orthanc.client import Orthanc
from autorthanc_spool.orthanc.modalities import Modalities
from autorthanc_spool.outgoing.sources import Originals, Stream
from autorthanc_spool.output.folders import Output
from autorthanc_spool.output.rights import Rights
from tests.helpers import crash, datasets, trees
from tests.helpers.destinations import add_modality, dead_port, received
from tests.helpers.orthanc_server import OrthancServer

NAME = "PAT1-FamilyPAT1-1"
TOO_MANY = 200


def name_of(action: Any) -> str:
    return str(action.word)


def of_kind(kind: rules.Kind) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("action", [one for one in ACTIONS if one.word.kind is kind], ids=name_of)


publishing = of_kind(rules.Kind.PUBLISHES)
sending = of_kind(rules.Kind.SENDS)


class Withholding(Originals):
    """Content whose first instance may not leave."""

    def open(self, instance: Instance) -> Any:
        return None if instance.resource_id == min(self.paths) else super().open(instance)


class Changing(Originals):
    """Content that differs each time that it is read."""

    opened = 0

    def open(self, instance: Instance) -> Any:
        self.opened += 1
        return Changed(super().open(instance), self.opened)


class Changed:
    """A stream with a digest of its own."""

    def __init__(self, stream: Stream, number: int) -> None:
        self._stream, self._number = stream, number
        self.expected_bytes = stream.expected_bytes
        self.size_bytes, self.md5 = 0, ""

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self.size_bytes, self.md5 = self._stream.size_bytes, f"{self._number:032x}"


class Notes:
    """The progress of a sending, as the ledger would keep it."""

    def __init__(self) -> None:
        self.job = self.transaction = ""
        self.missing: tuple[str, ...] = ()

    def check(self) -> None:
        """The work is ours."""

    def note(self, job: str = "", transaction: str = "") -> None:
        self.job, self.transaction = job, transaction

    def note_missing(self, missing: tuple[str, ...]) -> None:
        self.job, self.transaction, self.missing = "", "", missing


@pytest.fixture
def job(orthanc: OrthancServer) -> Job:
    study = orthanc.upload_all(datasets.make_study())
    client = Orthanc(orthanc.url, "", None)
    resource = client.with_instances(client.resource(Level.STUDY, study))
    rule = rules.Rule("all", Level.STUDY, destination_modalities=("archive",))
    return Job(rule, resource, Originals(client, resource, verify_md5=True), threading.Event())


@pytest.fixture
def output(tmp_path: Path) -> Output:
    (tmp_path / "output").mkdir()
    return Output(tmp_path / "output", Rights(None, 0o027, "output"))


def make(action: PublishingAction, job: Job, output: Output) -> Product:
    """Run it in an empty working directory."""
    shutil.rmtree(output.root / "all", ignore_errors=True)
    with output.rule_folder("all") as folder, closing(folder.make_working(NAME)) as working:
        return action.run(job, NAME, working)


def send(action: SendingAction, job: Job, delivery: Delivery) -> Sent:
    """Do as the forwarder does."""
    return action.run(action.prove(job, delivery), delivery)


def delivery(orthanc: OrthancServer, destination: str = "archive") -> Delivery:
    return Delivery(destination, Modalities(Orthanc(orthanc.url, "", None)), Notes())


def test_each_word_belongs_to_one_action() -> None:
    spellings = [spelling for word in WORDS for spelling in (word.word, *word.spellings)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_it_says_what_it_will_do_in_words_of_its_own(action: Any, job: Job) -> None:
    told = [one.describe(job.rule, 7) for one in ACTIONS]
    assert "7 instances" in action.describe(job.rule, 7)
    assert len(set(told)) == len(told)


@publishing
def test_nothing_of_it_is_visible_before_it_is_published(action: PublishingAction, job: Job, output: Output) -> None:
    product = make(action, job, output)
    assert [path.name for path in (output.root / "all").iterdir()] == [f"{NAME}.WORKING"]
    assert (output.root / "all" / product.source).stat().st_ino == product.inode
    assert ".WORKING" not in product.published_name


@publishing
def test_it_lists_all_files_and_knows_its_own_again(action: PublishingAction, job: Job, output: Output) -> None:
    product = make(action, job, output)
    assert sorted(file.path for file in product.files) == sorted("/".join(path) for path in job.content.paths.values())
    with output.rule_folder("all") as folder:
        folder.rename(product.source, product.published_name)
        assert folder.holds_exactly(product.published_name, product.tree)
        published = output.root / "all" / product.published_name
        (published / "new" if published.is_dir() else published).write_bytes(b"theirs")
        assert not folder.holds_exactly(product.published_name, product.tree)


@publishing
def test_publishing_twice_is_as_once(action: PublishingAction, job: Job, output: Output) -> None:
    first, second = make(action, job, output), make(action, job, output)
    assert (first.published_name, first.files) == (second.published_name, second.files)


@publishing
def test_a_stopped_job_ends_at_once(action: PublishingAction, job: Job, output: Output) -> None:
    job.stop.set()
    with pytest.raises(Interrupted):
        make(action, job, output)


@publishing
def test_what_is_withheld_does_not_leave(
    action: PublishingAction, job: Job, output: Output, orthanc: OrthancServer
) -> None:
    content = Withholding(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    withheld = "/".join(content.paths[min(content.paths)])
    product = make(action, Job(job.rule, job.resource, content, job.stop), output)
    assert len(product.files) == 5
    assert withheld not in {file.path for file in product.files}
    assert withheld not in trees.read(output.root / "all")


@publishing
def test_an_instance_that_is_gone_is_named(
    action: PublishingAction, job: Job, output: Output, orthanc: OrthancServer
) -> None:
    gone = job.resource.instances[2].resource_id
    orthanc.delete(f"/instances/{gone}")
    with pytest.raises(InstanceError) as caught:
        make(action, job, output)
    assert caught.value.instance_id == gone


@publishing
def test_killed_at_any_step_it_shows_nothing(action: PublishingAction, job: Job, output: Output) -> None:
    for step in range(1, TOO_MANY):
        died = crash.run_dying(step, lambda: make(action, job, output))
        folder = output.root / "all"
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        assert set(names) <= {f"{NAME}.WORKING"}, step
        if not died:
            break
    assert step > 3
    assert len(make(action, job, output).files) == 6


@sending
def test_everything_arrives(action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer) -> None:
    sent = send(action, job, delivery(orthanc))
    assert received(archive) == {one.SOPInstanceUID for one in job.resource.instances}
    assert (sent.instances, sent.size_bytes) == (6, sum(one.file_size_bytes for one in job.resource.instances))


@sending
def test_sending_twice_is_as_once(
    action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer
) -> None:
    first, second = send(action, job, delivery(orthanc)), send(action, job, delivery(orthanc))
    assert first == second
    assert len(received(archive)) == 6


@sending
def test_other_content_is_never_sent_as_its_originals(
    action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer
) -> None:
    """Whatever isn't `Originals` itself is sent as its own bytes, and without what it withholds."""
    content = Withholding(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    sent = send(action, Job(job.rule, job.resource, content, job.stop), delivery(orthanc))
    assert sent.instances == len(received(archive)) == 5


@sending
def test_what_is_made_on_the_way_does_not_leave_unproven(
    action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer
) -> None:
    content = Withholding(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    with pytest.raises(TypeError, match="proven"):
        action.run(Job(job.rule, job.resource, content, job.stop), delivery(orthanc))
    assert received(archive) == set()


@sending
def test_what_is_another_thing_when_it_is_read_again_does_not_leave(
    action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer
) -> None:
    content = Changing(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    with pytest.raises(InstanceError, match="second time"):
        send(action, Job(job.rule, job.resource, content, job.stop), delivery(orthanc))
    assert received(archive) == set()


@sending
def test_nothing_is_proven_for_a_destination_that_is_down(
    action: SendingAction, job: Job, orthanc: OrthancServer
) -> None:
    """A study of thousands of files isn't anonymised each time that a destination doesn't answer."""
    add_modality(orthanc, "down", "DOWN", dead_port())
    content = Changing(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    with pytest.raises(DestinationUnavailable):
        send(action, Job(job.rule, job.resource, content, job.stop), delivery(orthanc, "down"))
    assert content.opened == 0


@sending
def test_a_stopped_sending_ends_at_once(
    action: SendingAction, job: Job, orthanc: OrthancServer, archive: OrthancServer
) -> None:
    job.stop.set()
    content = Withholding(Orthanc(orthanc.url, "", None), job.resource, verify_md5=True)
    with pytest.raises(Interrupted):
        send(action, Job(job.rule, job.resource, content, job.stop), delivery(orthanc))
    assert received(archive) == set()
    # What Orthanc sends by itself may go on; whoever comes next looks after it.
    with pytest.raises(Interrupted):
        send(action, job, delivery(orthanc))


@sending
def test_a_destination_that_orthanc_does_not_know_is_named(
    action: SendingAction, job: Job, orthanc: OrthancServer
) -> None:
    with pytest.raises(UnknownModality, match="nobody"):
        send(action, job, delivery(orthanc, "nobody"))
