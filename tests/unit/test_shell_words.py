"""File names as words that a person can give to a shell."""

import os
import subprocess
from pathlib import Path

import pytest

from autorthanc_spool.spool.directories import shell_word

NAMES = [
    b"study-1.json", b"a b.json", b"it's.json", b'x"$HOME`.json', b"-x.json", "ä\u0301 สมศักดิ์.json".encode(),
    b"a\nb\tc.json", b"\xff\xfe'\\ .json", "a\u2028b\u0085c\u200f.json".encode(),
    b"\x7f1.json", "\U000e0001f.json".encode(),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_shell_finds_the_file_and_the_word_is_one_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.touch()
    word = shell_word(str(path))
    assert word.isprintable()
    subprocess.run(["bash", "-c", f"rm {word}"], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert not path.exists()
