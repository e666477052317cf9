"""`doctor --shared`: whether several hosts see one and the same spool, found out by trying on all of them at once.

They meet on a board in ``tmp/`` of the spool. Then each of them in turn acts, step by step, and the others watch: a
lock that it holds has to be refused to them, and to be free when it let go; a file that it makes, renames and removes
has to show, with the same inode number, owner and time; and of all that reach for one file or one name at the same
moment, one alone may get it, which is what decides who works on a marker. Each host judges what it saw itself. Nothing
of the spool is touched but this examination's own files.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from autorthanc_spool import __version__
from autorthanc_spool.disk import durable, filesystems, locks
from autorthanc_spool.disk.filesystems import FileSystem
from autorthanc_spool.doctor import mount_options
from autorthanc_spool.doctor.board import POLL_S, Alone, Board, Silent
from autorthanc_spool.doctor.finding import Finding, broken, ok, warning
from autorthanc_spool.run.tools import Tools

FOLDER = ".doctor-shared"
# A lock is free as soon as its owner let go.
LOCK_PATIENCE_S = 10.0
# What one host does is looked for so long on the others; longer than NFS caches attributes by default.
SIGHT_S = 75.0
# A processor finds a marker within its poll interval, and so much more.
FRESH_S = 1.0
# What is due and how old something is follow from the file's time and this host's clock.
CLOCKS_APART_S = 1.0
# So far ahead is a marker due that waits.
DUE_IN_S = 86400

Words = dict[str, Any]


def examine(tools: Tools, say: Callable[[str], None], hosts: int, meeting_s: float) -> Iterator[Finding]:
    """Meet the other hosts, and look at what each of them shows. `say` gets what takes long."""
    for role, folder in (("output", tools.settings.output_path), ("rules", tools.settings.rules_path)):
        if tools.known_folders.knows(role):
            # The spool knows their identity files, so each host can tell by itself.
            tools.known_folders.check(role, folder)
            yield ok(role, f"{folder} is the one that this spool knows")
    root, log = tools.spool.root, tools.settings.audit_log
    if log and log.parent.is_dir() and log.parent.stat().st_dev == root.stat().st_dev:
        text = f"{log} lies on the file system of the spool: NFS can't append, so lines of two hosts may be lost"
        yield warning("audit log", text, "set AUTORTHANC_AUDIT_LOG to a file on each host's own disk")
    board = Board(root / "tmp" / FOLDER, socket.gethostname(), os.getpid())
    mount = filesystems.of(root)
    paths = [str(path) for path in (root, tools.settings.output_path, tools.settings.rules_path)]
    board.say(
        version=__version__, user=os.geteuid(), paths=paths, mount={"name": mount.name, "options": [*mount.options]}
    )
    try:
        say(f"waits for this command on another host, {meeting_s:g} s at most")
        roster = board.meet(hosts, meeting_s)
        say(f"these take part: {', '.join(roster)}; this is {board.name}")
        yield from _Examination(board, roster).run()
        board.leave(roster)
    except Alone as error:
        yield broken("shared", str(error), "srun -N2 autorthanc-spool doctor --shared, or two terminals on two hosts")
    except Silent as error:
        yield broken("shared", str(error), f"start it again on all hosts; {mount_options.for_freshness(mount)}")
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        yield broken("locks", "this file system has no flock", mount_options.for_locks(mount))
    finally:
        board.clear()


class _Examination:
    """One host's part."""

    def __init__(self, board: Board, roster: list[str]) -> None:
        self._board = board
        self._roster = roster
        self._others = [name for name in roster if name != board.name]
        self._mounts: dict[str, FileSystem] = {}

    def run(self) -> Iterator[Finding]:
        """Act when it is this host's turn, and watch the others when it is theirs."""
        for name, said in self._board.wait_for(self._roster, "mount").items():
            self._mounts[name] = FileSystem(said["mount"]["name"], frozenset(said["mount"]["options"]))
            yield from self._introduced(name, said)
        for actor in self._roster:
            yield from self._act() if actor == self._board.name else self._watch(actor)
            yield from self._race(actor)

    def _introduced(self, name: str, said: Words) -> Iterator[Finding]:
        for what, key, fix in (
            ("version", "version", "install the same version on every host"),
            ("paths", "paths", "mount spool, output and rules at the same places on every host"),
            ("users", "user", "run the processors as one user, with one number, on every host"),
        ):
            if said[key] != (own := self._board.said[key]):
                yield warning(what, f"{said[key]} on {name}, {own} here", fix)

    def _path(self, actor: str, what: str) -> Path:
        return self._board.folder / f"{actor}.{what}"

    # Acting

    def _act(self) -> Iterator[Finding]:
        """Take each step, and wait after it until all others have seen it."""
        name = self._board.name
        held = locks.take(self._board.folder, f"{name}.held")
        self._step("holds", {})
        if held:
            held.release()
        self._step("let go", {})

        made = self._path(name, "made")
        before_s = time.time()
        durable.create(made, b"")
        status, after_s = made.stat(), time.time()
        yield self._server_clock(before_s, status.st_mtime, after_s)
        due_s = int(after_s) + DUE_IN_S
        os.utime(made, (due_s, due_s))
        asked_s = time.time()
        heard = self._step("made", {"inode": status.st_ino, "due": due_s})
        for other in self._others:
            yield self._clock(other, heard[other][f"saw {name} made"], asked_s, time.time())

        durable.move(made, self._path(name, "renamed"))
        self._step("renamed", {})
        self._path(name, "renamed").unlink()
        self._step("removed", {})
        durable.create(self._path(name, "prize"), b"")
        self._board.say(**{f"{name} prize": {}})

    def _step(self, step: str, words: Words) -> dict[str, Words]:
        key = f"{self._board.name} {step}"
        self._board.say(**{key: words})
        return self._board.wait_for(self._others, f"saw {key}")

    def _server_clock(self, before_s: float, made_s: float, after_s: float) -> Finding:
        apart_s = max(before_s - made_s, made_s - after_s, 0.0)
        if apart_s > CLOCKS_APART_S:
            text = f"the file server's clock and this host's are {apart_s:.1f} s apart"
            return warning("clocks", text, "run an NTP client, such as chrony, on both")
        return ok("clocks", "new files get this host's time")

    def _clock(self, other: str, its_s: float, asked_s: float, answered_s: float) -> Finding:
        """Judge a clock that was read somewhere between two moments of this one."""
        apart_s = max(asked_s - its_s, its_s - answered_s, 0.0)
        if apart_s > CLOCKS_APART_S:
            text = f"the clock of {other} and this host's are at least {apart_s:.1f} s apart"
            return warning("clocks", text, "run an NTP client, such as chrony, on every host")
        return ok("clocks", f"that of {other} and this host's agree")

    # Watching

    def _watch(self, actor: str) -> Iterator[Finding]:
        yield from self._watch_locks(actor)
        words = self._wait_for(actor, "made")
        made, renamed = self._path(actor, "made"), self._path(actor, "renamed")
        late_s = self._time_until(lambda: made.name in os.listdir(made.parent))  # noqa: PTH208 - as the poll looks
        seen = made.stat() if late_s is not None else None
        self._saw(actor, "made", time.time())
        yield self._freshness(actor, late_s)
        if seen:
            yield from self._attributes(actor, words, seen)

        self._wait_for(actor, "renamed")
        is_renamed = self._time_until(lambda: renamed.exists() and not made.exists()) is not None
        is_same = is_renamed and seen is not None and renamed.stat().st_ino == seen.st_ino
        self._saw(actor, "renamed")
        self._wait_for(actor, "removed")
        is_removed = self._time_until(lambda: not renamed.exists()) is not None
        self._saw(actor, "removed")
        if is_renamed and is_same and is_removed:
            yield ok("names", f"what {actor} renames and removes is seen here")
        else:
            text = f"a file that {actor} renamed and removed isn't seen so here"
            yield broken("names", text, mount_options.for_freshness(self._mounts[self._board.name]))

    def _watch_locks(self, actor: str) -> Iterator[Finding]:
        self._wait_for(actor, "holds")
        taken = locks.take(self._board.folder, f"{actor}.held")
        if taken:
            taken.release()
            text = f"a lock that {actor} holds could be taken here: two processors would work on one study"
            yield broken("locks", text, self._locks_fix())
        else:
            yield ok("locks", f"one that {actor} holds is refused here")
        self._saw(actor, "holds")
        self._wait_for(actor, "let go")
        freed = locks.take(self._board.folder, f"{actor}.held", LOCK_PATIENCE_S)
        if freed:
            freed.release()
        else:
            text = f"a lock that {actor} let go of isn't free here after {LOCK_PATIENCE_S:g} s"
            yield broken("locks", text, self._locks_fix())
        self._saw(actor, "let go")

    def _locks_fix(self) -> str:
        """Name the hosts whose mount keeps locks to itself, as far as its options show it."""
        faults = {name: mount_options.faulty(mount) for name, mount in self._mounts.items()}
        named = [f"on {name}, {fault}" for name, fault in faults.items() if fault]
        return "; ".join(named) or mount_options.for_locks(self._mounts[self._board.name])

    def _freshness(self, actor: str, late_s: float | None) -> Finding:
        fix = mount_options.for_freshness(self._mounts[self._board.name])
        if late_s is None:
            return broken("names", f"a file that {actor} made isn't seen here within {SIGHT_S:g} s", fix)
        if late_s > FRESH_S:
            return warning("names", f"a file that {actor} made is seen here {late_s:.0f} s later", fix)
        return ok("names", f"a file that {actor} made is seen here within {FRESH_S:g} s")

    def _attributes(self, actor: str, words: Words, seen: os.stat_result) -> Iterator[Finding]:
        mount = self._mounts[self._board.name]
        if seen.st_ino == words["inode"]:
            yield ok("inodes", f"a file has the same number on {actor} and here")
        else:
            text = f"a file has another number on {actor} than here: what was published isn't known after a crash"
            yield broken("inodes", text, mount_options.for_inodes(mount))
        if int(seen.st_mtime) == words["due"]:
            yield ok("times", f"the time that {actor} gives a file is seen here")
        else:
            text = f"the time that {actor} gave a file isn't seen here: what is due there isn't due here"
            yield broken("times", text, mount_options.for_freshness(mount))
        user = self._board.heard()[actor]["user"]
        if seen.st_uid != user:
            text = f"{actor} works as user {user}, and its files belong to {seen.st_uid} here"
            yield warning("users", text, "give users the same numbers everywhere; for root, export with no_root_squash")

    # Racing

    def _race(self, actor: str) -> Iterator[Finding]:
        """Reach for one file and one name, all hosts at the same moment; one alone may get each."""
        self._wait_for(actor, "prize")
        self._board.say(**{f"ready {actor}": {}})
        self._board.wait_for(self._roster, f"ready {actor}")
        own = {"file": self._gets_file(actor), "name": self._gets_name(actor)}
        self._board.say(**{f"raced {actor}": own})
        heard = self._board.wait_for(self._roster, f"raced {actor}")
        for what, text in (("file", "renames one file"), ("name", "makes one name")):
            winners = [name for name in self._roster if heard[name][f"raced {actor}"][what]]
            if len(winners) == 1:
                yield ok("races", f"of all that reach for it, one host {text}")
            else:
                yield broken(
                    "races",
                    f"{len(winners)} hosts think that they were the one that {text}",
                    mount_options.for_locks(self._mounts[self._board.name]),
                )

    def _gets_file(self, actor: str) -> bool:
        with suppress(FileNotFoundError):
            durable.move(self._path(actor, "prize"), self._path(self._board.name, f"prize-of-{actor}"))
            return True
        return False

    def _gets_name(self, actor: str) -> bool:
        with suppress(FileExistsError):
            durable.create(self._path(actor, "name"), b"")
            return True
        return False

    # The board

    def _wait_for(self, actor: str, step: str) -> Words:
        return dict(self._board.wait_for([actor], f"{actor} {step}")[actor][f"{actor} {step}"])

    def _saw(self, actor: str, step: str, words: Any = True) -> None:
        self._board.say(**{f"saw {actor} {step}": words})

    def _time_until(self, is_so: Callable[[], bool]) -> float | None:
        """Say how long it took until it was so; None when it never was."""
        begin_s = time.monotonic()
        while not is_so():
            if time.monotonic() > begin_s + SIGHT_S:
                return None
            time.sleep(POLL_S)
        return time.monotonic() - begin_s
