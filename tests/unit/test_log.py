"""How a line of the log is written."""

import json
import logging
import os
from pathlib import Path

import pytest

from autorthanc_spool.monitor.log import formatter


def line(form: str, level: int = logging.ERROR, text: str = "it failed") -> str:
    return formatter(form, "", 2).format(logging.LogRecord("name", level, "file", 1, text, (), None))


def test_text_has_a_time_stamp_and_the_level() -> None:
    assert line("text").endswith("Z ERROR it failed")


@pytest.mark.parametrize(("level", "priority"), [(logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6)])
def test_the_journal_gets_a_priority_and_no_time_stamp(level: int, priority: int) -> None:
    assert line("journal", level) == f"<{priority}>it failed"


def test_each_line_of_a_message_has_its_priority() -> None:
    assert line("journal", text="one\ntwo") == "<3>one\n<3>two"


def test_json_is_one_object_a_line() -> None:
    found = line("json", text="one\ntwo")
    assert "\n" not in found
    assert {key: json.loads(found)[key] for key in ("level", "message")} == {"level": "error", "message": "one\ntwo"}


def test_only_what_leads_into_the_journal_is_written_for_it(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        record = logging.LogRecord("name", logging.INFO, "file", 1, "text", (), None)
        journal = formatter("", f"{status.st_dev}:{status.st_ino}", stream.fileno())
        assert journal.format(record) == "<6>text"
        assert (
            formatter("", f"{status.st_dev}:{status.st_ino + 1}", stream.fileno()).format(record).endswith("INFO text")
        )
