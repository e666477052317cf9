"""Trees of files: made from a dictionary, read back into one."""

from pathlib import Path


def make(root: Path, tree: dict[str, bytes | str]) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(root: Path) -> dict[str, bytes]:
    """All files below, without those whose names begin with a dot."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def open_to_all(folder: Path) -> None:
    """Let other users into a folder of pytest's, which is the caller's alone, and into those above it."""
    above = (path for path in folder.parents if path.name.startswith(("pytest-", "popen-")))
    for path in (folder, *above):
        path.chmod(0o755)
