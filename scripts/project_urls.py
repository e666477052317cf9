"""The addresses of this project in the metadata of a wheel: those of the place that builds it.

A release is built where the project is kept, and that place knows its address: PROJECT_URL holds it. Without it, a
wheel has none, rather than a wrong one.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ProjectUrls(MetadataHookInterface):
    """Called by hatchling, which asks for `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Write the addresses, as a forge has them."""
        home = os.environ.get("PROJECT_URL", "").rstrip("/")
        pages = {"Documentation": "tree/main/docs", "Changelog": "blob/main/CHANGELOG.md", "Issues": "issues"}
        metadata["urls"] = {"Source": home, **{name: f"{home}/{page}" for name, page in pages.items()}} if home else {}
