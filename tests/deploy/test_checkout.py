"""What a checkout tracks, and what it keeps to itself."""

import shutil
import subprocess
from pathlib import Path

from deploy_tools import CHECKOUT


def test_git_tracks_the_readme_of_the_spool_and_nothing_that_runs_in_it(tmp_path: Path) -> None:
    shutil.copy(CHECKOUT / ".gitignore", tmp_path)
    in_spool = (
        "README.md",
        "incoming/x.json",
        "done/2026-11-23/x.json",
        "incoming/README.md",
        ".autorthanc",
        "ledger/x.json",
    )
    for name in in_spool:
        path = tmp_path / "spool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    git = ("git", "-C", str(tmp_path), "-c", "core.excludesFile=/dev/null")
    subprocess.run([*git, "init", "--quiet"], check=True)
    seen = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert sorted(seen) == [".gitignore", "spool/README.md"]
