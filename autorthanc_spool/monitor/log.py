"""How the log is written: for a person on a terminal or in a file, for systemd's journal, or for a program.

`text` has a time stamp. `journal` has none, as the journal has its own, and begins with a priority as in sd-daemon(3).
`json` is one object a line.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import suppress

# sd-daemon(3), syslog(3).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def formatter(form: str, journal_stream: str, descriptor: int) -> logging.Formatter:
    """Make the formatter of AUTORTHANC_LOG_FORMAT; without one, by whether the stream leads into the journal."""
    match form or ("journal" if _is_journal(journal_stream, descriptor) else "text"):
        case "json":
            return _Json()
        case "journal":
            return _Journal()
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", _TIME)
    text.converter = time.gmtime
    return text


def _is_journal(journal_stream: str, descriptor: int) -> bool:
    # systemd names device and inode of the stream: a child may have inherited the variable, and write into a file.
    with suppress(OSError):
        status = os.fstat(descriptor)
        return journal_stream == f"{status.st_dev}:{status.st_ino}"
    return False


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Each line is an entry of its own.
        lines = record.getMessage().splitlines() or [""]
        return "\n".join(f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" for line in lines)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content = {
            "time": time.strftime(_TIME, time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        return json.dumps(content, ensure_ascii=False)
