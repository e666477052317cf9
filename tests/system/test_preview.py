"""`pixels` and `preview` show what would be done, to the person who asks, and do nothing."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.deidentify.pictures import SECONDARY_CAPTURE, ULTRASOUND, Picture, area, with_regions, written
from tests.helpers import datasets
from tests.helpers.site import Site

SIZE = {"rows": 60, "columns": 80}
SCAN = Picture("RGB", frames=1, **SIZE, sop_class=ULTRASOUND)
CAPTURE = Picture("RGB", frames=5, **SIZE, sop_class=SECONDARY_CAPTURE)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "ct.dcm").write_bytes(datasets.make_instance(PatientName="Quillfeather^Zenobia"))
    (folder / "scan.dcm").write_bytes(written(with_regions(SCAN.data_set(), (10, 12, 39, 40))))
    (folder / "capture.dcm").write_bytes(written(CAPTURE.data_set(), "RLE"))
    return folder


def test_pixels_writes_pictures_before_and_after_and_says_why(site: Site, images: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.json"
    content = {"Tags": [{"TagName": "Modality", "Equals": "OT"}], "BlackOut": [area(0, 0, 80, 9)]}
    draft.write_text(json.dumps(content))
    done = site.run("pixels", str(images), "--regions", str(draft), "--out", str(tmp_path / "out"))
    assert "scan.dcm: leaves with 4 boxes blacked out, by regions of ultrasound" in done.stdout
    assert "capture.dcm: leaves with 1 box blacked out, by pixel_regions/draft.json" in done.stdout
    assert "ct.dcm: leaves as it is" in done.stdout
    names = ["capture.1.png", "capture.3.png", "capture.5.png", "ct.png", "scan.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    both = np.asarray(Image.open(tmp_path / "out" / "scan.png"))
    before, after = both[:, :80], both[:, -80:]
    assert (before == SCAN.values()[0]).all()
    assert (after[12:41, 10:40] == before[12:41, 10:40]).all()
    assert not after[:12].any()
    # Nothing that was written before is replaced.
    site.run("pixels", str(images / "ct.dcm"), "--out", str(tmp_path / "out"))
    assert (tmp_path / "out" / "ct-2.png").exists()


def test_pixels_withholds_what_nothing_is_known_of_and_writes_nothing_into_the_output(site: Site, images: Path) -> None:
    done = site.run("pixels", str(images / "capture.dcm"), "--out", str(images / "out"))
    assert "withheld: a secondary capture" in done.stdout
    refused = site.run("pixels", str(images), "--out", str(site.output / "trial"), expect=2)
    assert "that is in the output" in refused.stderr
    broken = images / "broken.dcm"
    broken.write_bytes(b"no DICOM")
    told = site.run("pixels", str(broken), "--out", str(images / "out"), expect=1)
    assert "not a DICOM file" in told.stdout


def test_preview_shows_each_attribute_before_after_and_why(site: Site, images: Path) -> None:
    rule = site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "redact", "Keep": ["Descriptors"]})
    page = images.parent / "preview.html"
    done = site.run("preview", "trial", str(images), "--html", str(page))
    assert "capture.dcm: withheld: a secondary capture" in done.stdout
    assert "scan.dcm: leaves with 4 boxes blacked out, by regions of ultrasound" in done.stdout
    assert "(0010,0010) PatientName: changed, 'Quillfeather^Zenobia' -> " in done.stdout
    assert "[what every anonymised file gets]" in done.stdout
    assert "Table E.1-1: U, replaced by a new UID" in done.stdout
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 2
    assert "Quillfeather" in text
    assert not site.output.exists() or not list(site.output.rglob("*"))
    assert not (site.root / "secrets" / "pseudonym.key").exists()
    same = site.run("preview", str(rule), str(images / "ct.dcm"), "--changed")
    assert ": same," not in same.stdout
    assert "there is no valid rule" in site.run("preview", "other", str(images), expect=2).stderr


def test_preview_asks_orthanc_for_a_study_and_for_a_series(site: Site) -> None:
    site.rule("trial", Action="ANONYMISE")
    study = site.orthanc.upload_all([datasets.make_instance(instance=number) for number in (1, 2)])
    done = site.run("preview", "trial", study)
    assert done.stdout.count(": leaves\n") == 2
    (series,) = site.orthanc.get(f"/studies/{study}")["Series"]
    assert site.run("preview", "trial", series).stdout.count(": leaves\n") == 2
    unknown = "-".join(["00000000"] * 5)
    assert "no study or series" in site.run("preview", "trial", unknown, expect=2).stderr


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with a good file among what can't be read, and names that can't be shown."""
    folder = tmp_path / "odd"
    folder.mkdir()
    scan = written(with_regions(SCAN.data_set(), (10, 12, 39, 40)))
    for name in (b"good.dcm", b"two\nlines.dcm", b"half\xff.dcm", b"x" * 251 + b".dcm"):
        (folder / os.fsdecode(name)).write_bytes(scan)
    (folder / "dangling.dcm").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
    return folder


def test_what_cannot_be_read_ends_neither_pixels_nor_preview(site: Site, odd: Path, tmp_path: Path) -> None:
    done = site.run("pixels", str(odd), "--out", str(tmp_path / "out"), expect=1)
    told = done.stdout.replace(str(odd), "")
    assert told.count("leaves with 4 boxes blacked out") == 4
    assert "/dangling.dcm: it can't be read: No such file or directory\n" in told
    assert "/two\\nlines.dcm: leaves" in told
    assert "/half\\xff.dcm: leaves" in told
    assert "1 file can't be looked at" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": "redact"})
    page = tmp_path / "preview.html"
    shown = site.run("preview", "trial", str(odd), "--html", str(page)).stdout
    assert "half\\xff.dcm: leaves with 4 boxes" in shown
    assert "dangling.dcm: it can't be read: No such file or directory" in shown
    assert "half\\xff.dcm: leaves with 4 boxes" in page.read_text()


def test_nothing_is_written_into_the_output_through_a_link_or_over_what_a_link_names(
    site: Site, images: Path, tmp_path: Path
) -> None:
    link, out = tmp_path / "link", tmp_path / "out"
    link.symlink_to(site.output)
    for way in (link, link / "in"):
        assert "in the output" in site.run("pixels", str(images), "--out", str(way), expect=2).stderr
    site.rule("trial", Action="ANONYMISE")
    refused = site.run("preview", "trial", str(images), "--html", str(link / "preview.html"), expect=2)
    assert "in the output" in refused.stderr
    out.mkdir()
    (out / "ct.png").symlink_to(tmp_path / "elsewhere.png")
    site.run("pixels", str(images / "ct.dcm"), "--out", str(out))
    assert not (tmp_path / "elsewhere.png").exists()
    assert (out / "ct-2.png").exists()


def test_folders_without_files_are_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    site.rule("trial", Action="ANONYMISE")
    for command in (["pixels", "--out", str(tmp_path / "out")], ["preview", "trial"]):
        assert "there are no files" in site.run(*command, str(tmp_path / "nothing"), expect=2).stderr


def test_a_file_on_which_a_codec_breaks_down_ends_neither(site: Site, images: Path, tmp_path: Path) -> None:
    data = written(CAPTURE.data_set(), "JPEG lossless")
    # GDCM aborts its process where samples have seven bits.
    start = data.index(b"\xff\xc3")
    (images / "broken.dcm").write_bytes(data[: start + 4] + b"\7" + data[start + 5 :])
    told = "broken.dcm: compressed pixel data on which the codec breaks down; it is withheld where it must be decoded"
    done = site.run("pixels", str(images), "--out", str(tmp_path / "out"), expect=1)
    assert told in done.stdout
    assert "scan.dcm: leaves with 4 boxes" in done.stdout
    page = tmp_path / "preview.html"
    for burned_in in ("redact", "allow"):
        site.rule("trial", Action="ANONYMISE", Anonymise={"BurnedIn": burned_in})
        shown = site.run("preview", "trial", str(images), "--html", str(page))
        assert told in page.read_text()
        assert "scan.dcm: leaves" in shown.stdout
        assert ("broken.dcm: leaves" in shown.stdout) is (burned_in == "allow")


def test_a_value_that_cannot_be_read_is_shown_by_its_size(site: Site, tmp_path: Path) -> None:
    data = datasets.make_instance(DiffusionBValue=1000.0)
    at = data.index(b"\x18\x00\x87\x90FD\x08\x00")
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(data[: at + 6] + b"\x04\x00" + data[at + 12 :])
    site.rule("trial", Action="ANONYMISE")
    shown = site.run("preview", "trial", str(broken)).stdout
    told = "DiffusionBValue: changed, \"4 bytes that can't be read as FD\" -> ''"
    assert told in shown
