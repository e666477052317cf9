"""What rings, seen through the kernel's own events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue

import pytest
from watchdog.events import FileSystemEvent

from autorthanc_spool.run.doorbell import Doorbell

OLD = "old.json"


class Heard(Doorbell):
    """Keeps what it was told."""

    def __init__(self, directory: Path) -> None:
        super().__init__([directory], polling_s=None)
        self.events: SimpleQueue[FileSystemEvent] = SimpleQueue()

    def on_any_event(self, event: FileSystemEvent) -> None:
        self.events.put(event)
        super().on_any_event(event)


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Heard]:
    directory = tmp_path / "incoming"
    directory.mkdir()
    (directory / OLD).write_text("{}")
    with closing(Heard(directory)) as heard:
        # The first wait sets the watch.
        heard.wait(0.0)
        yield heard


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.with_name("new.json").touch(),
        lambda old: old.write_text("changed"),
        lambda old: old.chmod(0o600),
        lambda old: old.rename(old.with_name("renamed.json")),
        lambda old: old.rename(old.parents[1] / "out.json"),
        lambda old: old.unlink(),
        lambda old: old.with_name("folder").mkdir(),
    ],
    ids=["new", "written", "mode", "renamed", "moved out", "removed", "folder"],
)
def test_it_rings_for_what_changes(bell: Heard, tmp_path: Path, change: Callable[[Path], object]) -> None:
    change(tmp_path / "incoming" / OLD)
    assert bell.events.get(timeout=10)
    # Rung: it doesn't wait for its time to be over.
    bell.wait(3600.0)


def test_it_hears_nothing_of_what_is_read(bell: Heard, tmp_path: Path) -> None:
    directory = tmp_path / "incoming"
    for path in directory.iterdir():
        path.read_text()
    (directory / "new.json").touch()
    assert Path(str(bell.events.get(timeout=10).src_path)).name == "new.json"
