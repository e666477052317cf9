"""Private elements that are known to hold more than their name says: whole headers, patients, dates, UIDs.

A rule may call them safe all the same, as each value is searched; but its author should know that they may not arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autorthanc_spool.rules.model import AnonymiseOptions, PrivateElement

_NIBABEL = "nibabel's documentation of Siemens CSA headers"
_PYDICOM = "pydicom's dictionary of private elements"
_DCM4CHE = "dcm4che's dictionary of private elements"
_GDCM = "GDCM's mailing list, July 2008"


@dataclass(frozen=True)
class _Row:
    """What such an element is, where that is said, and whether what identifies can be blanked in it."""

    creator: str
    group: int
    element: int
    what: str
    source: str
    is_cleaned: bool = False


KNOWN = (
    _Row("SIEMENS CSA HEADER", 0x0029, 0x10, "the image's CSA header, with UIDs and serial number", _NIBABEL, True),
    _Row("SIEMENS CSA HEADER", 0x0029, 0x20, "the series' CSA header, with UIDs, dates and names", _NIBABEL, True),
    _Row("SIEMENS CSA NON-IMAGE", 0x0029, 0x10, "a CSA header, with UIDs and names", _PYDICOM, True),
    _Row("SIEMENS CSA NON-IMAGE", 0x7FE1, 0x10, "a whole object in a format of its own", _PYDICOM),
    _Row("SIEMENS MR SDS 01", 0x0021, 0x03, "a protocol, with UIDs and names", _DCM4CHE, True),
    _Row("SIEMENS MR SDS 01", 0x0021, 0x19, "the protocol, with UIDs and names", _DCM4CHE, True),
    _Row("SIEMENS MR SDS 01", 0x0021, 0x39, "a protocol, with UIDs and names", _DCM4CHE, True),
    _Row("SIEMENS MEDCOM HEADER", 0x0029, 0x10, "a copy of the header", _PYDICOM),
    _Row("SIEMENS MEDCOM HEADER", 0x0029, 0x20, "a history, with dates", _PYDICOM),
    _Row("SIEMENS MEDCOM HEADER", 0x0029, 0x44, "an application's header", _PYDICOM),
    _Row("SIEMENS MEDCOM OOG", 0x0029, 0x10, "graphics with their texts", _PYDICOM),
    _Row("SIEMENS CM VA0  CMS", 0x0013, 0x20, "the patient's name", _PYDICOM),
    _Row("SIEMENS CM VA0  CMS", 0x0013, 0x22, "the patient's ID", _PYDICOM),
    _Row("SIEMENS CM VA0  CMS", 0x0013, 0x30, "the patient's birth date", _PYDICOM),
    _Row("SIEMENS ISI", 0x0011, 0x04, "the patient's ID", _PYDICOM),
    _Row("SIEMENS RIS", 0x0011, 0x11, "the patient's ID", _PYDICOM),
    _Row("SIEMENS RIS", 0x0011, 0x30, "the patient's name", _PYDICOM),
    _Row("SIEMENS RIS", 0x0033, 0x10, "a UID of the study", _PYDICOM),
    _Row("GEMS_SERS_01", 0x0025, 0x1B, "the protocol, compressed by gzip", _GDCM),
    _Row("GEMS_IDEN_01", 0x0009, 0x27, "a day, in seconds since 1970", _PYDICOM),
    _Row("GEMS_IDEN_01", 0x0009, 0xE3, "a UID of the machine", _PYDICOM),
    _Row("GEMS_IDEN_01", 0x0009, 0xE9, "a day, in seconds since 1970", _PYDICOM),
    _Row("GEMS_PETD_01", 0x0009, 0x02, "the patient's ID", _PYDICOM),
    _Row("GEMS_PETD_01", 0x0009, 0x5F, "the patient's ID", _PYDICOM),
    _Row("PHILIPS MR/PART", 0x0021, 0x00, "a date", _PYDICOM),
    _Row("PHILIPS MR/PART", 0x0021, 0x31, "a number of the patient", _PYDICOM),
    _Row("Philips MR Imaging DD 004", 0x2005, 0x91, "a person's name", _PYDICOM),
    _Row("Philips RAD Imaging DD 001", 0x200B, 0x00, "a person's name", _PYDICOM),
    _Row("SPI-P Release 1", 0x0011, 0x10, "a number of the patient", _PYDICOM),
    _Row("SPI-P-Private-DiDi Release 1", 0x0019, 0x10, "a copy of the header", _PYDICOM),
    _Row("SPI-P-Private-DiDi Release 1", 0x0019, 0x2C, "the operator", _PYDICOM),
    _Row("TOSHIBA MDW HEADER", 0x0029, 0x12, "a copy of the header", _PYDICOM),
    _Row("TOSHIBA MDW HEADER", 0x0029, 0x20, "a copy of the header", _PYDICOM),
    _Row("TOSHIBA_MEC_OT3", 0x7019, 0x85, "an earlier ID of the patient", _PYDICOM),
)

_BY_ELEMENT = {PrivateElement(row.creator, row.group, row.element): row for row in KNOWN}


def warnings(options: AnonymiseOptions | None) -> Iterator[str]:
    """Say what is known of the private elements that a rule calls safe, one sentence each."""
    for safe in options.safe_private if options else ():
        row = _BY_ELEMENT.get(safe)
        if row:
            fate = "what identifies is blanked in it" if row.is_cleaned else "it is removed where that is found in it"
            yield (
                f"SafePrivate keeps ({row.group:04x},xx{row.element:02x}) of {row.creator}, {row.what}; {fate} "
                f"(source: {row.source})"
            )
