"""The processor's image, as far as it can be made without an engine: what goes in, and what the steps do."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT

from autorthanc_spool import __version__

# Above all, nothing of patients and no password may go into an image.
PRIVATE = (".env", "orthanc-db/0a/1b/file", "output/brain/x.dcm", "spool/done/x.json", "secrets/pseudonym.key")


def dockerfile() -> list[tuple[str, str]]:
    text = (CHECKOUT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], " ".join(line.split()[1:])) for line in lines]


def context() -> list[str]:
    """Give the tracked files that `.dockerignore` lets in; it is a list of what is let in again after `*`."""
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert next(line for line in lines if line and line[0] not in "#!") == "*"
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [
        file for file in listing.stdout.split() if any(file == name or file.startswith(f"{name}/") for name in allowed)
    ]


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


def test_the_base_is_named_by_python_and_debian() -> None:
    bases = {rest.split()[0] for word, rest in dockerfile() if word == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


@pytest.mark.timeout(300)
def test_the_steps_make_a_program_that_starts(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "program"
    for name in context():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((CHECKOUT / name).read_bytes())
    assert any("pip install" in rest and rest.endswith(" .") for word, rest in dockerfile() if word == "RUN")
    # The same steps, with the libraries of this machine instead of the package index.
    wheel = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*wheel, str(source)], check=True, capture_output=True)
    venv.create(target, with_pip=False)
    packages = next(target.glob("lib/python*/site-packages"))
    (wheel_file,) = tmp_path.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(packages), str(wheel_file)]
    subprocess.run(install, check=True, capture_output=True)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "libraries.pth").write_text(libraries)
    done = subprocess.run(
        [target / "bin/python", "-P", "-m", "autorthanc_spool", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert __version__ in done.stdout
    shipped = packages / "autorthanc_spool/share/site/docker-compose.yml"
    assert shipped.read_bytes() == (CHECKOUT / "docker-compose.yml").read_bytes()
