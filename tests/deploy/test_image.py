"""The processor's image, as far as it can be made without an engine: what goes in, and what the steps do."""

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, free_port
from packaging.requirements import Requirement

from autorthanc_spool import __version__
from autorthanc_spool.site import init, wheel

# Above all, nothing of patients and no password may go into an image.
PRIVATE = (".env", "orthanc-db/0a/1b/file", "output/brain/x.dcm", "spool/done/x.json", "secrets/pseudonym.key")


def dockerfile() -> list[tuple[str, str]]:
    text = (CHECKOUT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], " ".join(line.split()[1:])) for line in lines]


def test_nothing_private_goes_into_the_image() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert not [path for path in PRIVATE if path.split("/")[0] in allowed]


def test_the_image_runs_as_no_root_and_starts_the_processor() -> None:
    last_stage = dockerfile()[[word for word, _ in dockerfile()].index("FROM", 1) :]
    words = dict(last_stage)
    assert words["USER"] == "1000:1000"
    assert (words["ENTRYPOINT"], words["CMD"]) == ('["autorthanc-spool"]', '["run"]')
    # Nothing of the build but the finished environment.
    assert [rest for word, rest in last_stage if word == "COPY"] == [
        "--from=build /opt/autorthanc-spool /opt/autorthanc-spool"
    ]


def test_the_image_gets_the_libraries_that_the_release_names_and_no_others() -> None:
    (steps,) = [rest for word, rest in dockerfile() if word == "RUN" and "pip install" in rest]
    libraries, program = [step for step in steps.split("&&") if "pip install" in step]
    assert "--require-hashes" in libraries.split()
    assert "--no-deps" in program.split()


def test_every_library_has_one_version_that_the_package_takes_and_the_digests_of_its_files() -> None:
    text = (CHECKOUT / "constraints.txt").read_text().replace("\\\n", " ")
    pinned = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        name, version, digests = re.fullmatch(r"([a-z0-9-]+)==([^\s;]+)[^-]*(.*)", line).groups()  # type: ignore[union-attr]
        assert re.fullmatch(r"(--hash=sha256:[0-9a-f]{64}\s*)+", digests), name
        pinned[name] = version
    wanted = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["dependencies"]
    for one in map(Requirement, wanted):
        assert one.specifier.contains(pinned[one.name]), one


def test_the_base_is_named_by_python_and_debian() -> None:
    bases = {rest.split()[0] for word, rest in dockerfile() if word == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


def test_the_image_is_made_of_the_wheel_alone_and_never_of_what_lies_in_the_site() -> None:
    lines = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["*", "!dist/*.whl", "!constraints.txt"]
    copied = [rest for word, rest in dockerfile() if word == "COPY" and not rest.startswith("--from")]
    assert copied == [f"constraints.txt dist/{wheel.NAME} /dist/"]
    assert any("pip install" in rest and rest.endswith(f" /dist/{wheel.NAME}") for word, rest in dockerfile())
    # The working directory is the site.
    assert "PYTHONSAFEPATH=1" in dict(dockerfile()[[word for word, _ in dockerfile()].index("ENV") :])["ENV"].split()


@pytest.mark.timeout(300)
def test_the_wheel_of_a_site_is_the_one_that_the_build_makes(tmp_path: Path) -> None:
    init.lay_out(tmp_path / "site", init.Person(1000, 1000, "x"))
    ours, built = tmp_path / "site/dist" / wheel.NAME, wheel_of(CHECKOUT, tmp_path / "built")
    assert contents(ours) == contents(built)


@pytest.mark.timeout(300)
def test_a_site_of_the_installed_package_is_good_and_makes_the_same_image(tmp_path: Path) -> None:
    target, site = tmp_path / "program", tmp_path / "site"
    packages = install(wheel_of(CHECKOUT, tmp_path / "first"), target)
    shipped = packages / "autorthanc_spool/share/site/docker-compose.yml"
    assert shipped.read_bytes() == (CHECKOUT / "docker-compose.yml").read_bytes()
    done = run(target, "init", str(site), folder=tmp_path)
    assert str(site / "docker-compose.yml") in done.stdout
    assert f"cd {site}" in done.stderr
    with (site / ".env").open("a") as stream:
        stream.write(f"ORTHANC_WEB_PORT={free_port()}\nORTHANC_AET_PORT={free_port()}\n")
    assert "the settings are all right" in run(target, "check", folder=site).stderr
    # What the image's steps do with the site's wheel; the program in it lays out the same site.
    again, image = tmp_path / "again", tmp_path / "image"
    install(site / "dist" / wheel.NAME, image)
    assert __version__ in run(image, "--version", folder=site).stdout
    run(image, "init", str(again), folder=tmp_path)
    assert (again / "dist" / wheel.NAME).read_bytes() == (site / "dist" / wheel.NAME).read_bytes()


def contents(path: Path) -> dict[str, bytes]:
    """Read a wheel; the record of its files is compared without regard to their order."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    return {name: b"".join(sorted(data.splitlines())) if "/RECORD" in name else data for name, data in found.items()}


def wheel_of(source: Path, folder: Path) -> Path:
    """Build without the package index."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, target: Path) -> Path:
    """Make a virtual environment with this package and the libraries of this machine; give its packages' folder."""
    venv.create(target, with_pip=False)
    packages = next(target.glob("lib/python*/site-packages"))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(packages), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "libraries.pth").write_text(libraries)
    return packages


def run(target: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # -P: the checkout must not stand in for what was installed.
    command = [str(target / "bin/python"), "-P", "-m", "autorthanc_spool", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
