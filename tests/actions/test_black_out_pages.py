"""Images with text in them, through a rule that redacts and real Orthanc: black, recorded, or waiting."""

import io
import json
from typing import Any

import pydicom

from tests.deidentify.pictures import SECONDARY_CAPTURE, ULTRASOUND, Picture, area, with_regions, written
from tests.helpers.site import Site

SIZE = {"rows": 60, "columns": 80, "frames": 3}
SCAN = Picture("RGB", **SIZE, sop_class=ULTRASOUND)
CAPTURE = Picture("RGB", **SIZE, sop_class=SECONDARY_CAPTURE)
TOP = {
    "IsActive": True,
    "Tags": [{"TagName": "Rows", "Equals": "60"}, {"TagName": "Modality", "Equals": "OT"}],
    "BlackOut": [area(0, 0, 80, 9), area(0, 50, 80, 10)],
}


def files() -> list[bytes]:
    """An ultrasound image with regions, one without, and two captures, one of them compressed."""
    images = [with_regions(SCAN.data_set(), (10, 12, 39, 40)), SCAN.data_set(), CAPTURE.data_set(), CAPTURE.data_set()]
    for number, data in enumerate(images, start=1):
        data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.826.0.1.77.1", f"1.2.826.0.1.77.1.{number}"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.77.1.{number}.1"
        data.SeriesNumber = str(number)
    return [written(data, "RLE" if number == 3 else "explicit") for number, data in enumerate(images)]


def send(site: Site) -> None:
    sent = site.orthanc.upload_all(files())
    site.orthanc.wait_stable(f"/studies/{sent}")
    site.touch(sent)


def regions(site: Site, content: Any) -> None:
    folder = site.rules / "pixel_regions"
    folder.mkdir(exist_ok=True)
    (folder / "capture.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_what_is_known_is_black_what_isnt_is_withheld_and_the_record_counts_it(site: Site) -> None:
    site.rule("trial", Action=["ANONYMISE", "ZIP"], Anonymise={"BurnedIn": "redact"}, Zip={"Compression": "stored"})
    site.rule("folders", Action="ANONYMISE", Anonymise={"BurnedIn": "redact"})
    regions(site, TOP)
    send(site)
    site.once()
    (record,) = site.records("done")
    for rule in ("trial", "folders"):
        outcome = record["outcomes"][rule]
        by = {"pixel_regions/capture.json": 2, "regions of ultrasound": 1}
        assert outcome["blacked_out"] == {"files": 3, "boxes": 8, "by": by}
        assert outcome["withheld"]["count"] == 1
    found = [pydicom.dcmread(path) for path in sorted((site.output / "folders").rglob("*.dcm"))]
    assert len(found) == 3
    for data in found:
        first = data.pixel_array[0]
        assert not first[:9].any()
        assert first[20, 20].any()
        assert data.BurnedInAnnotation == "NO"


def test_a_broken_file_of_pixel_regions_lets_the_study_wait_until_it_is_fixed(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "redact"})
    site.rule("other", Action="ANONYMISE", Anonymise={"BurnedIn": "allow"})
    regions(site, '{"IsActive": true, "Tags": [')
    send(site)
    site.once(expect=None)
    (record,) = site.records("deferred")
    assert record["outcomes"]["trial"]["error"]["kind"] == "PixelRegionsInvalid"
    assert "pixel_regions/capture.json:1" in record["outcomes"]["trial"]["error"]["text"]
    assert record["outcomes"]["other"]["outcome"] == "published"
    assert not list((site.output / "trial").rglob("*.dcm"))
    assert "pixel_regions/capture.json" in site.run("check", expect=1).stdout
    regions(site, TOP)
    with site.processor():
        site.wait_states(done=1)
    (record,) = site.records("done")
    assert record["outcomes"]["trial"]["blacked_out"]["files"] == 3


def test_a_changed_file_publishes_nothing_again_by_itself(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "redact"})
    regions(site, TOP)
    send(site)
    site.once()
    before = {path: path.stat().st_ino for path in site.output.rglob("*.dcm")}
    regions(site, {**TOP, "BlackOut": [area(0, 0, 80, 30)]})
    site.once()
    assert {path: path.stat().st_ino for path in site.output.rglob("*.dcm")} == before


def test_nothing_of_a_patient_is_in_the_record_or_the_log(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "redact"})
    send(site)
    site.once()
    name = str(pydicom.dcmread(io.BytesIO(files()[0])).PatientName)
    assert len(name) > 3
    assert name not in json.dumps(site.records("done")) + site.log_end()
