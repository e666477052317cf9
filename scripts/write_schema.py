"""Write the JSON Schemas that are shipped with the examples: python scripts/write_schema.py."""

from pathlib import Path

from autorthanc_spool.actions import WORDS
from autorthanc_spool.rules import pixel_regions, schema

FOLDER = Path(__file__).parents[1] / "automation_scripts" / "schema"

if __name__ == "__main__":
    (FOLDER / "rule.schema.json").write_text(schema.text(WORDS), encoding="utf-8")
    (FOLDER / "pixel_regions.schema.json").write_text(pixel_regions.text(), encoding="utf-8")
