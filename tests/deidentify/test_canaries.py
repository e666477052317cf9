"""Nothing that identifies comes out, wherever it is."""

import io

import pydicom
import pytest

from autorthanc_spool.deidentify.table import _COLUMNS, table
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus
from tests.deidentify.make import anonymised

ANYTHING = b"CNRY"


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
@pytest.mark.parametrize("syntax", corpus.SYNTAXES)
def test_no_canary_comes_out_under_the_basic_profile(syntax: str, undefined: bool) -> None:
    data = corpus.full(syntax, undefined=undefined)
    if syntax != "deflated":
        assert len(corpus.Canaries().in_bytes(data)) > 600
    out = plain(anonymised(data, burned_in="allow", structured="clean"))
    assert corpus.Canaries().in_bytes(out) == []
    for needle in (ANYTHING, corpus.UID_FAMILY.encode(), ANYTHING.decode().encode("utf-16-le")):
        assert needle not in out


@pytest.mark.parametrize("keep", Keep)
def test_an_option_lets_only_that_out_which_the_table_lets_it_keep(keep: Keep) -> None:
    out = plain(anonymised(corpus.full(), keep=frozenset({keep}), burned_in="allow", structured="clean"))
    kept = frozenset(tag for tag, row in table().items() if _COLUMNS[keep] in row.options)
    if keep is Keep.MODIFIED_DATES:
        # Times of day stay: whole days don't change them.
        kept = frozenset(tag for tag in kept if corpus.vr_of(table()[tag]) == "TM")
    assert corpus.Canaries(but=kept).in_bytes(out) == []


def test_a_safe_private_element_stays_alone_of_its_block() -> None:
    safe = (PrivateElement("SAFE CREATOR", 0x0011, 0x01),)
    out = anonymised(corpus.full(), safe_private=safe, burned_in="allow", structured="clean")
    assert corpus.Canaries().in_bytes(out) == []
    assert b"CNRY" not in out
    found = pydicom.dcmread(io.BytesIO(out))
    assert found[0x00110010].value == "SAFE CREATOR"
    assert found[0x00111001].value == "harmless"
    assert 0x00111002 not in found
    assert found.AnatomicRegionSequence[0][0x00111001].value == "harmless"


def plain(out: bytes) -> bytes:
    """A deflated file inflated, or canaries would hide in the compression."""
    found = pydicom.dcmread(io.BytesIO(out))
    if found.file_meta.TransferSyntaxUID != "1.2.840.10008.1.2.1.99":
        return out
    import zlib

    start = out.index(b"AUTORTHANC_SPOOL") + len("AUTORTHANC_SPOOL")
    return out[:start] + zlib.decompress(out[start:], -15)
