"""Where to black out: regions of ultrasound, files of pixel_regions/, and what neither knows is withheld."""

import contextlib
import io
import json
import mmap
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import generate_uid

from autorthanc_spool.core.errors import PixelRegionsInvalid
from autorthanc_spool.deidentify import codecs
from autorthanc_spool.deidentify.errors import Malformed
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.region_files import RegionFiles
from autorthanc_spool.rules import Keep, RuleError
from autorthanc_spool.rules.pixel_regions import PixelRegions, parse_regions
from tests.deidentify import real
from tests.deidentify.make import anonymised
from tests.deidentify.pictures import (
    SECONDARY_CAPTURE,
    ULTRASOUND,
    Picture,
    area,
    held,
    redacted,
    redacting,
    regions_file,
    samples_of,
    with_regions,
    written,
)

SCAN = Picture("RGB", rows=60, columns=80, frames=1, sop_class=ULTRASOUND)
MORE = Path(data_store.__file__).parent / "data"


def ultrasound(*corners: tuple[int, int, int, int], kind: int = 1, **tags: Any) -> bytes:
    data = with_regions(SCAN.data_set(), *corners, kind=kind)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return written(data)


def black(data: bytes, picture: Picture = SCAN) -> Any:
    """Which pixels of the first frame changed; all of them must be black."""
    before, after = picture.values()[0], samples_of(data, picture)[0]
    changed = (before != after).any(axis=2)
    assert (after[changed] == 0).all()
    return changed


def test_all_around_the_regions_of_ultrasound_is_black() -> None:
    found, data = redacted(ultrasound((10, 12, 39, 40), (30, 20, 70, 59)))
    wanted = np.ones((60, 80), bool)
    wanted[12:41, 10:40] = False
    wanted[20:60, 30:71] = False
    assert (black(data) == wanted).all()
    assert found.black.sources == ("regions of ultrasound",)
    # With BurnedInAnnotation YES as well, as the device knows best what it drew where.
    assert (black(redacted(ultrasound((10, 12, 39, 40), BurnedInAnnotation="YES"))[1])[12:41, 10:40] == 0).all()


def test_one_column_and_row_too_many_are_forgiven() -> None:
    _, data = redacted(ultrasound((10, 12, 80, 60)))
    assert not black(data)[12:, 10:].any()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (written(SCAN.data_set()), "no regions"),
        (ultrasound(), "no regions"),
        (ultrasound((0, 0, 79, 59)), "cover the whole image"),
        (ultrasound((0, 0, 79, 30), (0, 20, 79, 59)), "cover the whole image"),
        (ultrasound((0, 0, 79, 54)), "cover the whole image"),
        (ultrasound((3, 0, 79, 59)), "cover the whole image"),
        (ultrasound((10, 10, 81, 40)), "doesn't lie in the image"),
        (ultrasound((10, 10, 40, 700)), "doesn't lie in the image"),
        (ultrasound((40, 10, 30, 40)), "doesn't lie in the image"),
        (ultrasound((0, 0, 0, 0)), "doesn't lie in the image"),
        (ultrasound((10, 10, 40, 40), (0, 0, 4_000_000_000, 4)), "doesn't lie in the image"),
        (ultrasound((10, 10, 40, 40), kind=5), "is a picture"),
        (ultrasound((10, 10, 40, 40), kind=0), "is a picture"),
        (ultrasound((10, 10, 40, 40), ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"]), "nothing says where"),
        (ultrasound((10, 10, 40, 40), SeriesDescription="Dose Report"), "nothing says where"),
        (ultrasound((10, 10, 40, 40), ConversionType="WSD"), "nothing says where"),
    ],
)
def test_regions_that_cannot_be_believed_withhold(data: bytes, why: str) -> None:
    assert why in held(data)
    assert "an ultrasound image without BurnedInAnnotation NO" in held(data)


@pytest.mark.parametrize("keyword", ["RegionSpatialFormat", "RegionLocationMinX0", "RegionLocationMaxY1"])
def test_a_region_that_is_not_described_withholds(keyword: str) -> None:
    data = with_regions(SCAN.data_set(), (10, 10, 40, 40), (12, 12, 14, 14))
    delattr(data.SequenceOfUltrasoundRegions[1], keyword)
    assert "a region of ultrasound" in held(written(data))


def test_an_ultrasound_image_that_says_no_leaves_as_it_is() -> None:
    data = ultrasound((10, 12, 39, 40), BurnedInAnnotation="NO")
    found, made = redacted(data)
    assert found.black.sources == ()
    assert not black(made).any()


def test_regions_in_a_secondary_capture_are_not_those_of_its_pixels() -> None:
    data = with_regions(SCAN.data_set(), (10, 12, 39, 40))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    assert "nothing says where" in held(written(data))


CAPTURE = Picture("RGB", rows=60, columns=80, frames=1)
TOP = regions_file("top", BlackOut=[area(0, 0, 80, 9)])
MIDDLE = regions_file("middle", KeepOnly=[area(10, 5, 50, 40)])
CLEAN = regions_file("clean", Image="clean")
NEVER = regions_file("never", Image="withhold")


def capture(**tags: Any) -> bytes:
    data = CAPTURE.data_set()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return written(data)


def test_files_of_pixel_regions_say_what_goes_and_their_rectangles_add_up() -> None:
    _, data = redacted(capture(), TOP, MIDDLE)
    wanted = np.ones((60, 80), bool)
    wanted[9:45, 10:60] = False
    assert (black(data, CAPTURE) == wanted).all()
    # Both what regions of ultrasound and what files say.
    found, data = redacted(ultrasound((10, 5, 59, 44)), TOP)
    assert (black(data) == wanted).all()
    assert found.black.sources == ("regions of ultrasound", "pixel_regions/top.json")


def test_a_clean_image_leaves_as_it_is_and_says_so() -> None:
    found, data = redacted(capture(), CLEAN)
    assert found.black.boxes == 0
    assert not black(data, CAPTURE).any()
    read = pydicom.dcmread(io.BytesIO(data))
    assert read.BurnedInAnnotation == "NO"
    assert "113101" in codes(read)
    assert "DerivationDescription" not in read
    # Where another one knows a rectangle, that goes.
    assert black(redacted(capture(), CLEAN, TOP)[1], CAPTURE)[:9].all()


def test_withhold_has_the_last_word_also_where_nothing_is_suspected() -> None:
    assert held(capture(), CLEAN, NEVER, TOP) == "pixel_regions/never.json says so"
    assert held(ultrasound((10, 12, 39, 40)), NEVER) == "pixel_regions/never.json says so"
    assert held(real.path("CT_small.dcm").read_bytes(), NEVER) == "pixel_regions/never.json says so"


def test_an_image_that_nothing_suspects_is_blacked_out_where_a_file_says_so() -> None:
    found, _ = redacted(real.path("CT_small.dcm").read_bytes(), regions_file(BlackOut=[area(0, 0, 9, 9)]))
    assert found.black.boxes == 1


@pytest.mark.parametrize("rectangle", [area(0, 0, 81, 9), area(0, 55, 10, 6), area(80, 0, 1, 1)])
@pytest.mark.parametrize("key", ["BlackOut", "KeepOnly"])
def test_a_rectangle_that_does_not_lie_in_the_image_withholds_it(rectangle: dict[str, int], key: str) -> None:
    assert "pixel_regions/device.json has a rectangle" in held(capture(), regions_file(**{key: [rectangle]}))


@pytest.mark.parametrize(
    ("tag", "passes"),
    [
        ({"TagName": "Rows", "Equals": "60"}, True),
        ({"TagName": "Rows", "AtLeast": 61}, False),
        ({"TagName": "0028,0011", "AnyOf": ["80"]}, True),
        ({"TagName": "Manufacturer", "Value": "philips"}, True),
        ({"TagName": "Manufacturer", "Value": "siemens"}, False),
        ({"TagName": "Manufacturer", "Value": "siemens", "Not": True}, True),
        ({"TagName": "ManufacturerModelName", "Matches": "^iu ?22$"}, True),
        ({"TagName": "SoftwareVersions", "Equals": "5.2.0.289"}, True),
        ({"TagName": "ImageType", "Equals": "SECONDARY"}, True),
        ({"TagName": "StationName", "Present": True}, False),
        ({"TagName": "StationName", "Present": False}, True),
        ({"TagName": "ContentDate", "AtLeast": "2026-01-01"}, True),
    ],
    ids=str,
)
def test_a_file_is_about_images_that_pass_its_conditions(tag: dict[str, Any], passes: bool) -> None:
    tags = {
        "Manufacturer": "Philips Medical Systems",
        "ManufacturerModelName": "iU22",
        "SoftwareVersions": ["5.2.0.289", "x"],
        "ImageType": ["DERIVED", "SECONDARY"],
        "ContentDate": "20260203",
    }
    data, file = capture(**tags), regions_file(Tags=[{"TagName": "Columns", "Equals": "80"}, tag], Image="clean")
    if passes:
        redacted(data, file)
    else:
        assert "nothing says where" in held(data, file)


def codes(read: Dataset) -> list[str]:
    return [item.CodeValue for item in read.DeidentificationMethodCodeSequence]


def test_what_was_done_is_written_into_the_file() -> None:
    source = with_regions(SCAN.data_set(), (10, 12, 39, 40))
    source.add_new(0x00280106, "US", 3)
    _, data = redacted(written(source), keep=frozenset({Keep.DEVICE}))
    read = pydicom.dcmread(io.BytesIO(data))
    assert read.BurnedInAnnotation == "NO"
    assert "blacked out" in read.DerivationDescription
    assert codes(read) == ["113100", "113101", "113109"]
    assert "SmallestImagePixelValue" not in read
    # What wasn't touched claims nothing.
    read = pydicom.dcmread(io.BytesIO(redacted(real.path("CT_small.dcm").read_bytes())[1]))
    assert codes(read) == ["113100"]
    assert "BurnedInAnnotation" not in read


def test_a_changed_image_gets_a_new_uid_even_where_uids_are_kept() -> None:
    data, keep = ultrasound((10, 12, 39, 40)), frozenset({Keep.UIDS})
    before = pydicom.dcmread(io.BytesIO(data))
    found, made = redacted(data, keep=keep)
    after = pydicom.dcmread(io.BytesIO(made))
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID == found.identity.SOPInstanceUID
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesInstanceUID == before.SeriesInstanceUID
    unchanged = pydicom.dcmread(io.BytesIO(redacted(capture(), CLEAN, keep=keep)[1]))
    assert unchanged.SOPInstanceUID == pydicom.dcmread(io.BytesIO(capture())).SOPInstanceUID


def test_lossy_compressed_images_need_recode() -> None:
    data = (MORE / "color3d_jpeg_baseline.dcm").read_bytes()
    assert '"Recode": true' in held(data)
    # An image that is clean needs nothing.
    redacted((MORE / "JPEG-lossy.dcm").read_bytes() if (MORE / "JPEG-lossy.dcm").exists() else lossy(), CLEAN)


def lossy() -> bytes:
    return real.path("SC_rgb_dcmtk_+eb+cr.dcm").read_bytes()


def test_a_lossy_image_is_decoded_once_and_says_that_it_was_lossy() -> None:
    before = pydicom.dcmread(io.BytesIO(lossy()))
    _, data = redacted(lossy(), regions_file(BlackOut=[area(0, 0, 100, 30)]), recode=True)
    after = pydicom.dcmread(io.BytesIO(data))
    assert after.LossyImageCompression == "01"
    assert (after.pixel_array[30:] == before.pixel_array[30:]).all()
    assert not after.pixel_array[:30].any()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("JPEG-lossy.dcm", "can't be decoded"),
        ("liver_1frame.dcm", "1 bits a sample"),
        ("J2K_pixelrep_mismatch.dcm", "signed, and said not to be"),
    ],
)
def test_what_cannot_be_changed_with_certainty_is_withheld(name: str, why: str) -> None:
    everything = regions_file(BlackOut=[area(0, 0, 4, 4)])
    path = real.path(name) if real.path(name).exists() else MORE / name
    assert why in held(path.read_bytes(), everything, recode=True)


REAL = ["OBXXXX1A.dcm", "OBXXXX1A_expb_2frame.dcm", "OBXXXX1A_rle_2frame.dcm", "gdcm-US-ALOKA-16_big.dcm"]


@pytest.mark.parametrize("name", REAL)
def test_real_ultrasound_leaves_black_around_its_regions_and_as_valid_as_before(name: str, tmp_path: Path) -> None:
    data = (MORE / name).read_bytes()
    found, made = redacted(data)
    before, after = (pydicom.dcmread(io.BytesIO(one)) for one in (data, made))
    inside = np.zeros((before.Rows, before.Columns), bool)
    for region in before.SequenceOfUltrasoundRegions:
        if region.RegionSpatialFormat:
            rows = slice(region.RegionLocationMinY0, region.RegionLocationMaxY1 + 1)
            inside[rows, region.RegionLocationMinX0 : region.RegionLocationMaxX1 + 1] = True
    pictures = [one.pixel_array.reshape(-1, before.Rows, before.Columns) for one in (before, after)]
    assert (pictures[0][:, inside] == pictures[1][:, inside]).all()
    assert len(np.unique(pictures[1][:, ~inside])) == 1
    assert real.errors_of(made, tmp_path) - real.errors_of(data, tmp_path) == set()
    assert found.black.boxes


def test_regions_of_an_image_that_was_made_smaller_are_not_believed() -> None:
    """pydicom's example was cut to 350 rows; the regions are those of 600."""
    assert "doesn't lie in the image" in held(real.path("examples_palette.dcm").read_bytes())


def test_a_large_image_is_never_held_whole(tmp_path: Path) -> None:
    """400 MB of frames: one of them, and little more, at a time."""
    picture = Picture("RGB", rows=1024, columns=1024, frames=130, sop_class="1.2.840.10008.5.1.4.1.1.3.1")
    frame = picture.rows * picture.columns * 3
    head = with_regions(Picture("RGB", rows=1, columns=1, frames=1, sop_class=picture.sop_class).data_set(),
                        (10, 100, 1000, 1000))  # fmt: skip
    head.Rows, head.Columns, head.NumberOfFrames = picture.rows, picture.columns, str(picture.frames)
    small = written(head)
    at = small.rindex(b"\xe0\x7f\x10\x00OB\0\0") + 8
    with (tmp_path / "large.dcm").open("w+b") as stream:
        # All but the first pages of this file lie nowhere.
        stream.write(small[:at] + struct.pack("<L", frame * picture.frames))
        stream.truncate(at + 4 + frame * picture.frames)
        source = memoryview(mmap.mmap(stream.fileno(), 0))
    tracemalloc.start()
    try:
        found = redacting().file(source)
        assert isinstance(found, Deidentified)
        size = sum(len(chunk) for chunk in found.chunks(source))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 400_000_000
    assert peak < 1.5 * frame + 100_000_000


def test_without_these_options_no_codec_and_no_numpy_is_imported() -> None:
    program = (
        "import sys; from autorthanc_spool.deidentify import codecs; codecs.leave_out()\n"
        "from autorthanc_spool.deidentify.file import Deidentifier\n"
        "from autorthanc_spool.deidentify.profile import Profile\n"
        "from autorthanc_spool.deidentify.key import Key\n"
        "from autorthanc_spool.deidentify.pseudonym import Pseudonymiser\n"
        "from autorthanc_spool.rules import AnonymiseOptions\n"
        "tool = Deidentifier(Profile(AnonymiseOptions('P')), Pseudonymiser(Key(bytes(32)), 'P'))\n"
        "tool.file(memoryview(sys.stdin.buffer.read()))\n"
        "print(*(name for name, module in sys.modules.items() if module is not None))"
    )
    data = real.path("CT_small.dcm").read_bytes()
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert "pydicom" in loaded
    unwanted = {"numpy", "PIL", "gdcm", "_gdcm", "pylibjpeg", "openjpeg", "jpeg_ls", "onnxruntime", "rapidocr"}
    assert loaded & unwanted == set()
    # The same is so in the process of the pool that doesn't decode, as it begins with the same line.


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"])
def test_frames_in_fragments_that_need_no_codec_are_blacked_out(syntax: str) -> None:
    picture = Picture("RGB", rows=11, columns=13, frames=2)
    data = picture.data_set()
    frames = [one.tobytes() for one in picture.values()]
    if syntax.endswith(".8.1"):
        packers = [zlib.compressobj(wbits=-15) for _ in frames]
        frames = [packer.compress(one) + packer.flush() for packer, one in zip(packers, frames, strict=True)]
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate(frames)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, implicit_vr=False, little_endian=True, force_encoding=True)
    _, made = redacted(out.getvalue(), regions_file(BlackOut=[area(0, 0, 13, 2)]))
    before, after = picture.values(), samples_of(made, picture)
    assert (after[:, 2:] == before[:, 2:]).all()
    assert not after[:, :2].any()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PhotometricInterpretation", "YBR_RCT"),
        ("PhotometricInterpretation", "HSV"),
        ("PhotometricInterpretation", "MONOCHROME2"),
        ("BitsStored", 9),
        ("BitsAllocated", 64),
    ],
)
def test_samples_that_nothing_can_look_into_withhold(keyword: str, value: Any) -> None:
    data = CAPTURE.data_set()
    setattr(data, keyword, value)
    with contextlib.suppress(Malformed):
        assert "an image " in held(written(data), TOP)


def test_icons_and_overlays_of_a_redacted_image_go() -> None:
    data = CAPTURE.data_set()
    icon = Dataset()
    icon.Rows, icon.Columns, icon.PixelData = 1, 4, b"\1\2\3\4"
    icon["PixelData"].VR = "OB"
    data.IconImageSequence = [icon]
    data.add_new(0x60003000, "OW", b"\1\2\3\4")
    read = pydicom.dcmread(io.BytesIO(redacted(written(data), TOP)[1]))
    assert "IconImageSequence" not in read
    assert [element for element in read if element.tag.group == 0x6000] == []


def test_what_needs_a_codec_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "is_there", lambda module: False)
    data = (MORE / "US1_J2KR.dcm").read_bytes()
    assert "pip install 'autorthanc-spool[pixels]'" in held(data, regions_file(BlackOut=[area(0, 0, 9, 9)]))


def test_the_same_file_gives_the_same_bytes_in_any_process() -> None:
    data = (MORE / "OBXXXX1A_rle_2frame.dcm").read_bytes()
    assert redacted(data)[1] == redacted(data)[1]
    assert generate_uid() not in redacted(data)[1].decode("latin-1")


# The files.

VALID = {"IsActive": True, "Tags": [{"TagName": "Rows", "Equals": "60"}], "Image": "clean"}


def put(folder: Path, **files: Any) -> RegionFiles:
    (folder / "pixel_regions").mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "pixel_regions" / f"{name}.json").write_text(text)
    return RegionFiles(folder)


def names(found: tuple[PixelRegions, ...]) -> list[str]:
    return [one.name for one in found]


def test_active_files_count_and_templates_do_not(tmp_path: Path) -> None:
    assert RegionFiles(tmp_path).read() == ()
    files = put(
        tmp_path, b=VALID, a=VALID, off={**VALID, "IsActive": False}, my_template="{", c={**VALID, "IsActive": 1}
    )
    with pytest.raises(PixelRegionsInvalid, match=r"pixel_regions/c\.json:1: IsActive: found a number, expected true"):
        files.read()
    put(tmp_path, c="{}")
    assert names(files.read()) == ["a", "b"]
    put(tmp_path, c=VALID)
    assert names(files.read()) == ["a", "b", "c"]


def test_what_is_no_file_stops_all_and_is_not_waited_for(tmp_path: Path) -> None:
    files = put(tmp_path, good=VALID)
    other = tmp_path / "pixel_regions" / "other.json"
    os.mkfifo(other)
    with pytest.raises(PixelRegionsInvalid, match=r"other\.json: found something else of this name"):
        files.read()
    other.unlink()
    other.mkdir()
    with pytest.raises(PixelRegionsInvalid, match=r"other\.json: found something else of this name"):
        files.read()


def test_a_folder_that_is_a_link_to_nowhere_is_not_one_without_files(tmp_path: Path) -> None:
    (tmp_path / "pixel_regions").symlink_to(tmp_path / "unmounted")
    with pytest.raises(PixelRegionsInvalid, match="a link that leads nowhere"):
        RegionFiles(tmp_path).read()
    (tmp_path / "unmounted").mkdir()
    assert RegionFiles(tmp_path).read() == ()


@pytest.mark.parametrize("content", ["", "{", '{"IsActive": true}', '{"IsActiv": true, "Tags": []}'])
def test_a_broken_file_that_may_be_active_stops_all(content: str, tmp_path: Path) -> None:
    with pytest.raises(PixelRegionsInvalid, match=r"pixel_regions/broken\.json"):
        put(tmp_path, good=VALID, broken=content).read()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"Tags": []}, "Tags: found an empty list, expected at least one condition"),
        ({"Tags": [{"TagName": "Row", "Equals": "1"}]}, 'Tags[0].TagName: found "Row"'),
        ({"Tags": [{"TagName": "PixelData", "Present": True}]}, "expected a tag with a value that is text or numbers"),
        ({"Tags": [{"TagName": "ModalitiesInStudy", "Value": "US"}]}, "ModalitiesInStudy, which is in no file"),
        ({"Tags": [{"TagName": "StudyDate", "AtLeast": "-30d"}]}, "a number of days before today"),
        ({"BlackOut": [area(0, 0, 1, 1)]}, "found BlackOut and Image, expected one of them"),
        ({"Image": "cleen"}, 'found "cleen", expected "clean" or "withhold"; did you mean "clean"?'),
        ({"Image": None}, "Image: found null"),
        ({"Blackout": []}, 'Blackout: found an unknown key, expected "IsActive"'),
        ({"_note": 1, "$schema": "x"}, None),
    ],
)
def test_what_is_wrong_in_a_file_is_reported_with_its_place(content: dict[str, Any], told: str | None) -> None:
    text = json.dumps({**VALID, **content}).encode()
    if told is None:
        assert parse_regions("x", text).image == "clean"
        return
    with pytest.raises(RuleError) as caught:
        parse_regions("x", text)
    assert f"pixel_regions/x.json:1: {told}" in str(caught.value) or told in str(caught.value)


@pytest.mark.parametrize(
    ("rectangle", "told"),
    [
        ({"Left": 0, "Top": 0, "Width": 0, "Height": 1}, "BlackOut[0].Width: found 0, expected a whole number"),
        ({"Left": -1, "Top": 0, "Width": 1, "Height": 1}, "BlackOut[0].Left: found -1"),
        ({"Left": 0.5, "Top": 0, "Width": 1, "Height": 1}, "BlackOut[0].Left: found 0.5"),
        ({"Left": "0", "Top": 0, "Width": 1, "Height": 1}, "write it without quotes"),
        ({"Left": 0, "Top": 0, "Width": 1}, "BlackOut[0].Height: found nothing"),
        ({"Left": 0, "Top": 0, "Width": 1, "Heigth": 1}, 'did you mean "Height"?'),
        ([0, 0, 1, 1], "BlackOut[0]: found a list, expected an object"),
    ],
)
def test_a_wrong_rectangle_is_reported(rectangle: Any, told: str) -> None:
    content = {"IsActive": True, "Tags": VALID["Tags"], "BlackOut": [rectangle]}
    with pytest.raises(RuleError) as caught:
        parse_regions("x", json.dumps(content).encode())
    assert told in str(caught.value)


def test_without_redact_nothing_of_this_counts() -> None:
    assert anonymised(capture(), burned_in="allow")
    assert pydicom.dcmread(io.BytesIO(anonymised(capture(), burned_in="allow"))).get("BurnedInAnnotation") is None
