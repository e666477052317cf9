"""Settings: what the environment and `.env` say, checked, before anything else begins.

`reader` is the only reader of both; `variables` is the table of names, which `.env.example` and the docs follow.
"""

from __future__ import annotations

from autorthanc_spool.settings.reader import (
    DEFAULT_WEB_PORT,
    Settings,
    environment_of,
    load_settings,
    nearest_name,
    written_badly,
)

__all__ = ["DEFAULT_WEB_PORT", "Settings", "environment_of", "load_settings", "nearest_name", "written_badly"]
