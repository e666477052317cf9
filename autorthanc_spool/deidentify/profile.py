"""How files are de-identified: the options of a rule, with the pseudonym table that they name."""

from __future__ import annotations

from dataclasses import dataclass

from autorthanc_spool.deidentify.pseudonym_table import PseudonymTable
from autorthanc_spool.rules.model import AnonymiseOptions, Keep
from autorthanc_spool.rules.pixel_regions import PixelRegions


@dataclass(frozen=True)
class Profile:
    """The options, checked, and what they ask for beside the rule. Raises ValueError for options that contradict.

    `table` is there where they name one; `regions` are the files of `pixel_regions/`, where they redact.
    """

    options: AnonymiseOptions
    table: PseudonymTable | None = None
    regions: tuple[PixelRegions, ...] = ()

    def __post_init__(self) -> None:
        if {Keep.MODIFIED_DATES, Keep.FULL_DATES} <= self.options.keep:
            raise ValueError("ModifiedDates and FullDates contradict each other")
        if (self.table is None) != (self.options.pseudonym_table is None):
            raise ValueError("PseudonymTable names a table, but none was given, or the other way round")
        for keyword, value in self.options.fixed:
            # Any character set of DICOM holds ASCII; most hold little else (PS3.5 section 6.1).
            if not value.isascii():
                raise ValueError(f"Set gives {keyword} a value with characters that are not ASCII")

    @property
    def needs_codecs(self) -> bool:
        """Whether pixels may have to be decoded."""
        return self.options.burned_in == "redact" or self.options.detect is not None

    def keeps(self, keep: Keep) -> bool:
        """Whether the rule keeps this."""
        return keep in self.options.keep
