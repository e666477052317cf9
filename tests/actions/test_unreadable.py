"""Files that are damaged or odd among others that are not: what leaves, what is withheld, and what fails."""

import hashlib
import io
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian

from autorthanc_spool.deidentify.elements import EXPLICIT_LITTLE
from tests.helpers import datasets
from tests.helpers.destinations import add_modality, dead_port, storescp
from tests.helpers.site import Site

WITHHOLD = {"Malformed": "withhold"}


def send(site: Site, *files: bytes) -> str:
    study = site.orthanc.upload_all(list(files))
    site.orthanc.wait_stable(f"/studies/{study}")
    site.touch(study)
    return study


def published(site: Site, rule: str = "trial") -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted((site.output / rule).rglob("*.dcm"))]


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def cut(data: bytes) -> bytes:
    """A file whose pixel data end too early; Orthanc takes it."""
    found, out = read(data), io.BytesIO()
    found.PixelData = found.PixelData[:-10]
    found.save_as(out)
    return out.getvalue()


def instance_of(site: Site, data: bytes) -> str:
    query = {"SOPInstanceUID": read(data).SOPInstanceUID}
    (found,) = site.orthanc.post("/tools/find", {"Level": "Instance", "Query": query})
    return str(found)


def with_odd_vr(data: bytes, name: bytes, *, is_big: bool = False) -> bytes:
    """Put (0028,0120) with a VR that doesn't exist before the pixel data."""
    order, mark = (">", b"\x7f\xe0\x00\x10OW") if is_big else ("<", b"\xe0\x7f\x10\x00OW")
    at = data.rindex(mark)
    return data[:at] + struct.pack(f"{order}HH2sH", 0x0028, 0x0120, name, 2) + b"\0\0" + data[at:]


def with_odd_vr_in_an_item(data: bytes, name: bytes) -> bytes:
    """Put a sequence with an item that begins and ends with such elements before the pixel data."""
    at = data.rindex(b"\xe0\x7f\x10\x00OW")
    odd = [struct.pack("<HH2sH", 0x0028, number, name, 10) + b"SMITH^JOHN" for number in (0x0120, 0x1199)]
    window = EXPLICIT_LITTLE.element(0x00281055, "LO", b"soft tissue")
    items = EXPLICIT_LITTLE.item(odd[0] + window + odd[1])
    # SoftcopyVOILUTSequence
    return data[:at] + EXPLICIT_LITTLE.header(0x00283110, "SQ", len(items)) + items + data[at:]


@pytest.mark.parametrize("name", [b"??", b"us", b"  ", b"\0\0"], ids=repr)
def test_an_element_of_unknown_vr_is_left_out_and_the_study_published(site: Site, name: bytes) -> None:
    site.rule("trial", Action="ANONYMISE")
    files = datasets.make_study(series=1)
    odd = [with_odd_vr(files[0], name), with_odd_vr_in_an_item(files[1], name), files[2]]
    for one in odd[::-1]:
        send(site, one)
    site.once()
    found = published(site)
    assert len(found) == 3
    assert not any((0x0028, 0x0120) in one for one in found)
    (within,) = [one for one in found if "SoftcopyVOILUTSequence" in one]
    (item,) = within.SoftcopyVOILUTSequence
    assert [element.keyword for element in item] == ["WindowCenterWidthExplanation"]
    before = {hashlib.sha256(read(one).PixelData).digest() for one in files}
    assert {hashlib.sha256(one.PixelData).digest() for one in found} == before


def test_in_big_endian_too(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    data, out = read(datasets.make_instance()), io.BytesIO()
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(out, data, implicit_vr=False, little_endian=False, enforce_file_format=True)
    send(site, with_odd_vr(out.getvalue(), b"??", is_big=True))
    site.once()
    (found,) = published(site)
    assert (0x0028, 0x0120) not in found
    assert found.Rows == data.Rows


def test_of_two_transfer_syntaxes_the_first_counts_as_in_orthanc(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    syntaxes = [b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"]
    first, second = (EXPLICIT_LITTLE.element(0x00020010, "UI", one) for one in syntaxes)
    data = datasets.make_instance()
    length = data.index(first)
    group = struct.unpack_from("<L", data, 140)[0]
    twice = data[:140] + struct.pack("<L", group + len(second)) + data[144:length] + first + second
    twice += data[length + len(first) :]
    study = send(site, twice)
    assert site.orthanc.get(f"/studies/{study}")["PatientMainDicomTags"]["PatientID"] == "PAT1"
    site.once()
    (found,) = published(site)
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert found.Rows == 16


@pytest.mark.parametrize("bad", range(3))
@pytest.mark.parametrize("action", ["DOWNLOAD", "ZIP"])
def test_a_file_that_cannot_be_read_is_withheld_where_the_rule_says_so(site: Site, action: str, bad: int) -> None:
    site.rule("trial", Action=[action, "ANONYMISE"], Anonymise=WITHHOLD)
    files = datasets.make_study(series=1)
    files[bad] = cut(files[bad])
    send(site, *files)
    site.once()
    (record,) = site.records("done")
    told = record["outcomes"]["trial"]
    instances = told["withheld"]["instances"]
    assert list(instances) == [instance_of(site, files[bad])]
    assert "bytes" in instances[instance_of(site, files[bad])]
    assert (told["withheld"]["count"], told["instances"]) == (1, 2)
    (name,) = site.published("trial")
    assert name.startswith(told["pseudonym"])


def test_without_it_the_study_fails_and_nothing_is_published(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"Malformed": "fail"})
    files = datasets.make_study(series=1)
    files[1] = cut(files[1])
    send(site, *files)
    site.once(expect=1)
    (record,) = site.records("failed")
    error = record["outcomes"]["trial"]["error"]
    assert (error["kind"], error["instance"]) == ("Malformed", instance_of(site, files[1]))
    assert site.published("trial") == []


def test_where_none_can_be_read_it_fails_and_says_what_is_wrong_with_each(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise=WITHHOLD)
    files = [cut(one) for one in datasets.make_study(series=1)]
    send(site, *files)
    site.once(expect=1)
    (record,) = site.records("failed")
    told = record["outcomes"]["trial"]
    assert told["error"]["kind"] == "EverythingWithheld"
    assert "BurnedIn" not in told["error"]["text"]
    assert set(told["withheld"]["instances"]) == {instance_of(site, one) for one in files}
    assert told["withheld"]["count"] == len(files)
    assert site.published("trial") == []
    assert site.leftovers() == []


def test_what_is_withheld_for_it_is_not_sent_either(site: Site, tmp_path: Path) -> None:
    port = dead_port()
    add_modality(site.orthanc, "dcmtk", "DCMTK", port)
    options: dict[str, Any] = {"DestinationModality": "dcmtk", "Anonymise": WITHHOLD}
    site.rule("trial", Action=["ANONYMISE", "FORWARD"], **options)
    files = datasets.make_study(series=1)
    send(site, cut(files[0]), *files[1:])
    with storescp(tmp_path / "received", port):
        site.once()
    assert len(list((tmp_path / "received").iterdir())) == 2
    (record,) = site.records("done")
    assert '"count": 1' in str(record).replace("'", '"')


def test_files_of_two_patients_are_not_withheld_but_fail(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise=WITHHOLD)
    files = datasets.make_study(series=1)
    other, out = read(files[1]), io.BytesIO()
    other.IssuerOfPatientID = "CLINIC"
    other.save_as(out)
    third, last = read(files[2]), io.BytesIO()
    third.IssuerOfPatientID = "HOSP"
    third.save_as(last)
    send(site, files[0], out.getvalue(), last.getvalue())
    site.once(expect=1)
    (record,) = site.records("failed")
    assert record["outcomes"]["trial"]["error"]["kind"] == "PatientsMixed"
