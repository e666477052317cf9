"""A new action is one file and one line: everything else knows it at once, and nothing takes its place."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import autorthanc_spool
from tests.helpers import datasets
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.site import Site

PACKAGE = Path(autorthanc_spool.__file__).parent

# Publishes a folder with the first file alone.
PUBLISHING = """
from autorthanc_spool import rules
from autorthanc_spool.outgoing.job import Job, Product
from autorthanc_spool.output.contents import Delivered, tree_digest
from autorthanc_spool.output.working import WorkingFolder


class Added:
    word = rules.ActionWord("SAMPLE", rules.Kind.PUBLISHES)

    def describe(self, rule: rules.Rule, instances: int) -> str:
        return f"sample {instances} instances"

    def run(self, job: Job, name: str, working: WorkingFolder) -> Product:
        first = min(job.resource.instances, key=lambda one: one.resource_id)
        folder, file_name = job.content.paths[first.resource_id]
        stream = job.content.open(first)
        working.make_folder(folder)
        with working.add(folder, file_name) as file:
            for chunk in stream:
                file.write(chunk)
        files = (Delivered(f"{folder}/{file_name}", stream.size_bytes, stream.md5),)
        working.sync([folder])
        return Product(name, working.name, working.inode, files, tree_digest(files))
"""

# Changes what leaves: everything is withheld but one file.
CHANGING = """
from autorthanc_spool import rules
from autorthanc_spool.outgoing.sources import Content, Originals


class Added:
    word = rules.ActionWord("SAMPLE", rules.Kind.CHANGES)

    def describe(self, rule: rules.Rule, instances: int) -> str:
        return f"sample {instances} instances"

    def source(self, originals, resource, rule, anonymiser) -> Content:
        class Sampled(Originals):
            def open(self, instance):
                return super().open(instance) if instance.resource_id == min(self.paths) else None

        return Sampled(originals._orthanc, resource, verify_md5=True)
"""


def with_action(folder: Path, code: str) -> Path:
    """Make a copy of the package that has one more action."""
    shutil.copytree(PACKAGE, folder / "autorthanc_spool", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "autorthanc_spool" / "actions" / "sample.py").write_text(code)
    registry = folder / "autorthanc_spool" / "actions" / "__init__.py"
    text = registry.read_text()
    registry.write_text(
        text.replace("    Forward(),\n", "    Forward(),\n    Sample(),\n").replace(
            "from autorthanc_spool.core",
            "from autorthanc_spool.actions.sample import Added as Sample\nfrom autorthanc_spool.core",
            1,
        )
    )
    return folder


def command(site: Site, copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the copy, which the path of modules puts before the installed package."""
    site.make_spool()
    environment = {**site.environment, "PYTHONPATH": os.pathsep.join([str(copy), *filter(None, sys.path)])}
    program = "from autorthanc_spool.commands.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=site.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("code", [PUBLISHING, CHANGING], ids=["publishes", "changes"])
def test_a_rule_with_a_new_action_runs_it(site: Site, orthanc: OrthancServer, tmp_path: Path, code: str) -> None:
    study = orthanc.upload_all(datasets.make_study())
    orthanc.wait_stable(f"/studies/{study}")
    assert len(orthanc.get(f"/studies/{study}/instances")) > 1
    site.rule("all", Action="SAMPLE")
    copy = with_action(tmp_path / "copy", code)
    assert "SAMPLE" in command(site, copy, "check").stdout
    site.touch(study)
    done = command(site, copy, "run", "--once")
    assert done.returncode == 0, done.stderr
    (name,) = site.published("all")
    assert len(site.tree("all", name)) == 1
    explained = command(site, copy, "explain", "study", study)
    assert "done already" in explained.stdout


def test_without_the_action_its_word_is_unknown(site: Site, tmp_path: Path) -> None:
    site.rule("all", Action="SAMPLE")
    found = site.run("check", expect=1)
    assert "SAMPLE" in found.stdout
    assert "DOWNLOAD" in found.stdout
    copy = with_action(tmp_path / "copy", PUBLISHING)
    assert command(site, copy, "check").returncode == 0


def test_two_actions_that_publish_dont_go_together(site: Site, tmp_path: Path) -> None:
    copy = with_action(tmp_path / "copy", PUBLISHING)
    path = site.rule("all", Action=["ZIP", "SAMPLE"])
    assert json.loads(path.read_text())["Action"] == ["ZIP", "SAMPLE"]
    found = command(site, copy, "check")
    assert found.returncode == 1
    assert "SAMPLE and ZIP, each of which publishes" in found.stdout
