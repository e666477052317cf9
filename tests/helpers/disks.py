"""Small disks, full ones, and shares that come and go."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.waiting import wait_until


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of this size; it needs root, and says so where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@dataclass
class Share:
    """A file system of its own that can be taken from the place where it is mounted, and brought back as it was."""

    place: Path
    backing: Path

    def mount(self) -> None:
        subprocess.run(["mount", "--bind", self.backing, self.place], check=True)

    def take_away(self) -> None:
        """Unmount it lazily, as for a share that is in use: what is open goes on to work, and nobody sees it."""
        subprocess.run(["umount", "--lazy", self.place], check=True)

    def resize(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", self.backing], check=True)


@contextmanager
def share(place: Path, size: str = "20m") -> Iterator[Share]:
    """Mount a share at the place; it needs root, and says so where there is none."""
    backing = place.with_name(f"{place.name}-backing")
    place.mkdir(parents=True)
    with small_disk(backing, size):
        made = Share(place, backing)
        made.mount()
        try:
            yield made
        finally:
            if place.is_mount():
                made.take_away()


@contextmanager
def ext4(place: Path, size_mib: int = 16) -> Iterator[Path]:
    """Mount an image with a file system that is made for disks; it needs root and a loop device."""
    image = place.with_name(f"{place.name}.img")
    with image.open("wb") as file:
        file.truncate(size_mib * 1024 * 1024)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def silent(place: Path) -> Iterator[None]:
    """Mount a share whose server has stopped answering; it needs root, and bindfs from Debian."""
    backing = place.with_name(f"{place.name}-backing")
    backing.mkdir()
    server = subprocess.Popen(["bindfs", "-f", backing, place])
    try:
        wait_until(place.is_mount, 10, "it is mounted")
        server.send_signal(signal.SIGSTOP)
        yield
    finally:
        server.send_signal(signal.SIGCONT)
        subprocess.run(["fusermount", "-u", "-z", place], check=True)
        server.wait(timeout=10)


@contextmanager
def without_owners(place: Path) -> Iterator[Path]:
    """Mount a file system that refuses chown and ignores chmod, as shares do; it needs root, and bindfs from Debian."""
    backing = place.with_name(f"{place.name}-backing")
    backing.mkdir()
    place.mkdir()
    subprocess.run(["bindfs", "--chown-deny", "--chmod-ignore", "--perms=0755", backing, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["fusermount", "-u", "-z", place], check=True)
