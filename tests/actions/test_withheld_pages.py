"""Pages that are stored as CT images, through a rule with ANONYMISE and real Orthanc."""

import json
from typing import Any

import pytest

from tests.helpers import datasets
from tests.helpers.site import Site

NAME = "Quillfeather^Zenobia"

PROTOCOL = {
    "ImageType": ["DERIVED", "SECONDARY", "OTHER", "CT_SOM5 PROT"],
    "SeriesDescription": "Patient Protocol",
    "Manufacturer": "SIEMENS",
}
CAPTURED = {
    "ImageType": ["DERIVED", "SECONDARY"],
    "SecondaryCaptureDeviceManufacturer": "AW",
    "DateOfSecondaryCapture": "20260102",
    "ConversionType": "WSD",
    "ImagePositionPatient": None,
}
REASONS = {
    "protocol": 'perhaps a scanner\'s protocol page: ImageType says "PROT"',
    "captured": "perhaps a copy of a screen or a scanned document: ConversionType is WSD",
}


def page(series: int, **keywords: Any) -> bytes:
    return datasets.make_instance("PAGES", series=series, PatientName=NAME, **keywords)


def study() -> list[bytes]:
    images = [page(1), datasets.make_instance("PAGES", series=1, instance=2, PatientName=NAME)]
    return [page(8, **PROTOCOL), page(9, **CAPTURED), *images]


def send(site: Site, files: list[bytes]) -> dict[str, str]:
    """Send files, and return by which instance Orthanc knows each series."""
    sent = site.orthanc.upload_all(files)
    site.orthanc.wait_stable(f"/studies/{sent}")
    site.touch(sent)
    found = site.orthanc.post("/tools/find", {"Level": "Instance", "Query": {}, "Expand": True})
    series = {one["ID"]: site.orthanc.get(f"/instances/{one['ID']}/simplified-tags") for one in found}
    return {tags["SeriesNumber"]: instance for instance, tags in series.items()}


@pytest.mark.parametrize("order", [1, -1], ids=["pages first", "images first"])
def test_pages_are_withheld_each_with_its_reason_and_the_images_leave(site: Site, order: int) -> None:
    site.rule("trial", Action="ANONYMISE")
    instances = send(site, study()[::order])
    site.once()
    (record,) = site.records("done")
    wanted = {instances["8"]: REASONS["protocol"], instances["9"]: REASONS["captured"]}
    assert record["outcomes"]["trial"]["withheld"] == {"count": 2, "instances": wanted}
    assert len(list((site.output / "trial").rglob("*.dcm"))) == 2
    assert "Quillfeather" not in json.dumps(record)


def test_allow_lets_pages_out(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "allow"})
    send(site, study())
    site.once()
    (record,) = site.records("done")
    assert "withheld" not in record["outcomes"]["trial"]
    assert len(list((site.output / "trial").rglob("*.dcm"))) == 4
