"""Write the JSON Schema of rules that is shipped with the examples: python scripts/write_schema.py."""

from pathlib import Path

from autorthanc_spool.actions import WORDS
from autorthanc_spool.rules import schema

PATH = Path(__file__).parents[1] / "automation_scripts" / "schema" / "rule.schema.json"

if __name__ == "__main__":
    PATH.write_text(schema.text(WORDS), encoding="utf-8")
