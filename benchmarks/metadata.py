"""What one marker costs a shared file system: the operations on spool and output, counted by strace.

A network file system answers each with a question to its server, or out of what it remembers; a local one is asked all
the same. Two runs are compared that differ by some markers, so that the start of a program doesn't count.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

MARKERS, FILES = 10, 20
# What goes to a server of metadata, by what it is for there; reading and writing of contents is not among them.
KINDS = {
    "look up": {"stat", "lstat", "newfstatat", "statx", "fstat", "access", "faccessat2", "readlink"},
    "open": {"open", "openat"},
    "list": {"getdents64"},
    "make and remove": {"mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"},
    "rename": {"rename", "renameat", "renameat2"},
    "set attributes": {"utimensat", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "ftruncate"},
    "lock": {"flock"},
    "make durable": {"fsync", "fdatasync", "sync_file_range"},
}
_CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)")


def count(site: Site, folder: Path) -> Counter[tuple[str, str]]:
    """Run `run --once` under strace, and count the calls by where and what."""
    trace = folder / "trace"
    names = ",".join(f"?{name}" for names in KINDS.values() for name in names)
    program = [sys.executable, "-m", "autorthanc_spool", "run", "--once"]
    subprocess.run(
        ["strace", "-f", "-y", "-o", trace, f"--trace={names}", *program],
        cwd=site.root, env=site.environment, check=True, capture_output=True,
    )  # fmt: skip
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    found: Counter[tuple[str, str]] = Counter()
    for line in trace.read_text(errors="replace").splitlines():
        call = _CALL.match(line)
        for place, root in (("spool", site.spool), ("output", site.output)):
            if call and call[1] in kinds and str(root) in call[2]:
                found[place, kinds[call[1]]] += 1
                break
    return found


def measure() -> dict[tuple[str, str], float]:
    """Count what one study of some files costs, on the average."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = OrthancServer(folder / "orthanc", lua=()).start()
        try:
            site = Site(folder / "site", server)
            site.rule("all")
            site.once()
            without = count(site, folder)
            for number in range(MARKERS):
                study = server.upload_all(datasets.make_study(f"P{number}", series=2, instances=FILES // 2))
                server.wait_stable(f"/studies/{study}")
                site.touch(study)
            with_markers = count(site, folder)
        finally:
            server.stop()
    return {key: (with_markers[key] - without[key]) / MARKERS for key in sorted(with_markers)}


def main() -> None:
    """Print the table."""
    found = measure()
    print(f"| operations for a study of {FILES} files | spool | output |")
    print("|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {found.get(('spool', kind), 0):.1f} | {found.get(('output', kind), 0):.1f} |")
    totals = [sum(value for (place, _), value in found.items() if place == name) for name in ("spool", "output")]
    print(f"| all | {totals[0]:.1f} | {totals[1]:.1f} |")


if __name__ == "__main__":
    main()
