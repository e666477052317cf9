"""The identities of folders are written into a spool that is there, never into the folder that it was mounted on."""

from pathlib import Path

import pytest

from autorthanc_spool.core.errors import FolderMissing
from autorthanc_spool.disk.mounts import KnownFolders


def test_nothing_is_written_where_the_spool_went_away_a_moment_ago(tmp_path: Path) -> None:
    rules, mount_point = tmp_path / "rules", tmp_path / "spool"
    rules.mkdir()
    mount_point.mkdir()
    with pytest.raises(FolderMissing, match="is the spool mounted"):
        KnownFolders(mount_point / "state").check("rules", rules)
    assert list(mount_point.iterdir()) == []
