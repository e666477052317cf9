"""How files are de-identified: the options of a rule, with the pseudonym table that they name."""

from __future__ import annotations

from dataclasses import dataclass

from autorthanc_spool.deidentify.pseudonym_table import PseudonymTable
from autorthanc_spool.rules.model import AnonymiseOptions, Keep


@dataclass(frozen=True)
class Profile:
    """The options, checked, and the table where they name one. Raises ValueError for options that contradict."""

    options: AnonymiseOptions
    table: PseudonymTable | None = None

    def __post_init__(self) -> None:
        if {Keep.MODIFIED_DATES, Keep.FULL_DATES} <= self.options.keep:
            raise ValueError("ModifiedDates and FullDates contradict each other")
        if (self.table is None) != (self.options.pseudonym_table is None):
            raise ValueError("PseudonymTable names a table, but none was given, or the other way round")
        for keyword, value in self.options.fixed:
            # Any character set of DICOM holds ASCII; most hold little else (PS3.5 section 6.1).
            if not value.isascii():
                raise ValueError(f"Set gives {keyword} a value with characters that are not ASCII")

    def keeps(self, keep: Keep) -> bool:
        """Whether the rule keeps this."""
        return keep in self.options.keep
