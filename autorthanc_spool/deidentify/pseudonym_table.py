"""The pseudonym table: a CSV file with the columns PatientID and Pseudonym, made by a person or a trial's office."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autorthanc_spool.core.errors import PatientNotListed, PseudonymTableInvalid
from autorthanc_spool.disk import durable

COLUMNS = ("PatientID", "Pseudonym")

# It becomes PatientID and PatientName: at most 64 characters, and none that has a meaning in a PN (PS3.5 section 6.2).
_PSEUDONYM = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-][A-Za-z0-9._ -]{0,63}")

# Control characters, and the line and paragraph separators of Unicode.
_CONTROLS = frozenset({"Cc", "Zl", "Zp"})


class PseudonymTables:
    """The tables beside the rules, read again when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, ...], PseudonymTable]] = {}

    def read(self, name: str) -> PseudonymTable:
        """Read a table. Raises PseudonymTableInvalid."""
        path = self._folder / name
        try:
            # Opening a pipe would wait for somebody to write into it.
            if not stat.S_ISREG(path.stat().st_mode):
                raise PseudonymTableInvalid(["it isn't a file; put a table of that name beside the rules"])
            with path.open("rb") as stream:
                found = durable.signature(os.fstat(stream.fileno()))
                before = self._read.get(name)
                if before and before[0] == found:
                    return before[1]
                table = parse_table(stream.read())
        except OSError as error:
            raise PseudonymTableInvalid(
                [f"the pseudonym table {path} can't be read ({error.strerror}); put it beside the rules"]
            ) from None
        except PseudonymTableInvalid as error:
            raise PseudonymTableInvalid([f"{name}: {problem}" for problem in error.problems]) from None
        self._read[name] = (found, table)
        return table


def signature(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty while it can't be looked at."""
    try:
        return durable.signature(path.stat())
    except OSError:
        return ()


@dataclass(frozen=True)
class PseudonymTable:
    """Pseudonyms by PatientID, both stripped; the identifiers don't show in a representation."""

    pseudonyms: Mapping[str, str] = field(repr=False)

    def pseudonym(self, PatientID: str) -> str:
        """Find a patient's pseudonym. Raises PatientNotListed."""
        found = self.pseudonyms.get(normalised(PatientID))
        if found is None:
            raise PatientNotListed("the patient isn't in the pseudonym table; add a row, and this goes on by itself")
        return found

    def patients(self, pseudonym: str) -> tuple[str, ...]:
        """Find who has a pseudonym: at most one PatientID."""
        return tuple(patient for patient, name in self.pseudonyms.items() if name == pseudonym)


def normalised(PatientID: str) -> str:
    """Bring a PatientID into the form that is compared: NFC, without spaces and NULs around it."""
    return unicodedata.normalize("NFC", PatientID).strip(" \0")


def parse_table(data: bytes) -> PseudonymTable:
    """Read a table: UTF-8 with or without BOM, separated by commas or semicolons.

    Raises PseudonymTableInvalid with every fault and its line. A row that comes twice is harmless; one PatientID with
    two pseudonyms, or one pseudonym for two PatientIDs, is ambiguous.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PseudonymTableInvalid(["the pseudonym table isn't UTF-8; save it as UTF-8"]) from None
    rows = list(_rows(text))
    if not rows or tuple(rows[0][1]) != COLUMNS:
        line = rows[0][0] if rows else 1
        raise PseudonymTableInvalid([f"line {line} of the pseudonym table: expected the header PatientID,Pseudonym"])
    pseudonyms: dict[str, str] = {}
    patients: dict[str, str] = {}
    problems: list[str] = []
    for line, row in rows[1:]:
        fault = _fault(row, pseudonyms, patients)
        if fault:
            problems.append(f"line {line} of the pseudonym table: {fault}")
        else:
            pseudonyms[normalised(row[0])] = row[1]
            patients[row[1]] = normalised(row[0])
    problems += [
        f"line {line} of the pseudonym table: the pseudonym is the PatientID of another row"
        for line, row in rows[1:]
        if len(row) == len(COLUMNS) and row[1] in pseudonyms and row[1] != normalised(row[0])
    ]
    if problems:
        raise PseudonymTableInvalid(problems)
    return PseudonymTable(pseudonyms)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    separator = ";" if ";" in text.lstrip().partition("\n")[0].partition("\r")[0] else ","
    # Line ends within quotation marks belong to the cell, and so make it unusable.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise PseudonymTableInvalid([f"line {reader.line_num} of the pseudonym table isn't CSV"]) from None
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _fault(row: list[str], pseudonyms: Mapping[str, str], patients: Mapping[str, str]) -> str | None:
    if len(row) != len(COLUMNS):
        return f"found {len(row)} columns, expected 2"
    patient, pseudonym = normalised(row[0]), row[1]
    if not patient:
        return "the PatientID is empty"
    if _CONTROLS.intersection(map(unicodedata.category, patient)):
        return "the PatientID has a line end or another control character in it"
    if not _PSEUDONYM.fullmatch(pseudonym):
        return "expected a pseudonym of 1 to 64 letters (a to z), digits, spaces, '.', '_' and '-'"
    if pseudonym == patient:
        return "the pseudonym is the PatientID itself"
    if pseudonyms.get(patient, pseudonym) != pseudonym:
        return "this PatientID has another pseudonym further up"
    if patients.get(pseudonym, patient) != patient:
        return "another PatientID has this pseudonym further up"
    return None
