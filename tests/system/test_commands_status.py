"""`status --watch`: the same again and again, until Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.site import Site
from tests.helpers.waiting import wait_until

CALL = [sys.executable, "-m", "autorthanc_spool", "status", "--watch"]


def watched(site: Site, out: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with out.open("wb") as stream:
        # Whoever runs the tests in the background may have them ignore Ctrl-C, which programs inherit.
        return subprocess.Popen(
            command,
            cwd=site.root,
            env=site.environment,
            stdout=stream,
            stderr=stream,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


@pytest.mark.parametrize("option", ["--json", "--shape"])
def test_it_shows_what_comes_until_ctrl_c(site: Site, tmp_path: Path, option: str) -> None:
    site.make_spool()
    out = tmp_path / "out"
    process = watched(site, out, [*CALL, option])
    try:
        wait_until(lambda: len(out.read_text().splitlines()) > 1, 30, "it is shown again")
        before = out.read_text()
        site.touch("00000000-00000000-00000000-00000000-00000000")
        new = '"incoming": 1' if option == "--json" else "(not looked at yet)"
        wait_until(lambda: new in out.read_text().removeprefix(before), 30, "what came is shown")
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    assert "Traceback" not in out.read_text()


def test_on_a_terminal_it_is_shown_in_place_and_goes_on_while_orthanc_is_away(site: Site, tmp_path: Path) -> None:
    site.make_spool()
    site.variables |= {"ORTHANC_URL": "http://127.0.0.1:9", "TERM": "xterm"}
    out = tmp_path / "out"
    process = watched(site, out, ["script", "-qefc", " ".join(CALL), "/dev/null"])
    try:
        clear = "\x1b[2J"
        wait_until(lambda: out.read_text().count("answer at http") > 1, 60, "it goes on")
        assert out.read_text().count(clear) > 1
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_reader_that_has_seen_enough_ends_it_without_a_word(site: Site) -> None:
    site.make_spool()
    command = f"{' '.join(CALL)} --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], cwd=site.root, env=site.environment, capture_output=True, text=True)
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "")
