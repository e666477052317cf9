"""The systemd units, as systemd itself reads them."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT

UNITS = CHECKOUT / "deploy/systemd"
SERVICES = ("autorthanc-spool.service", "autorthanc-spool-processor.service")
CHECK = "autorthanc-spool-check"

# systemd's own measure: 0 is a service that may do nothing, 10 one that may do all. Debian's Orthanc has 9.2.
MOST_EXPOSURE = 2.0


def settings(name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return dict(parser["Service"])


def installed(name: str, folder: Path) -> Path:
    """Write the unit with a program that is there, for systemd looks."""
    text = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", (UNITS / name).read_text())
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("name", [*SERVICES, f"{CHECK}.service"])
def test_systemd_takes_the_unit(name: str, tmp_path: Path) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(installed(name, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_takes_the_timer(tmp_path: Path) -> None:
    installed(f"{CHECK}.service", tmp_path)
    timer = shutil.copy(UNITS / f"{CHECK}.timer", tmp_path)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", timer], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_the_unit_is_hardened(name: str, tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(installed(name, tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSURE


@pytest.mark.parametrize("name", SERVICES)
def test_the_spool_can_have_the_groups_bit(name: str) -> None:
    # RestrictSUIDSGID= refuses chmod with setgid, which the spool's folders carry.
    assert settings(name).get("RestrictSUIDSGID", "no") == "no"


def test_debians_orthanc_takes_the_addition(tmp_path: Path) -> None:
    shutil.copy("/lib/systemd/system/orthanc.service", tmp_path)
    shutil.copytree(UNITS / "orthanc.service.d", tmp_path / "orthanc.service.d")
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / "orthanc.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_user_can_be_made(tmp_path: Path) -> None:
    for name in ("passwd", "group"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).write_text("root:x:0:0::/root:/bin/sh\n" if name == "passwd" else "root:x:0:\n")
    command = ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "autorthanc-spool.sysusers")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "autorthanc" in (tmp_path / "etc/passwd").read_text()
    groups = {line.split(":")[0]: line.split(":")[3] for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert groups["autorthanc"] == ""
    assert groups["autorthanc-output"] == "autorthanc"


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_private_has_a_group_that_nobody_else_needs_to_be_in(name: str) -> None:
    found = settings(name)
    assert (found["Group"], found["SupplementaryGroups"]) == ("autorthanc", "autorthanc-output")
    orthanc = (UNITS / "orthanc.service.d/autorthanc-spool.conf").read_text()
    assert "SupplementaryGroups=autorthanc\n" in orthanc
