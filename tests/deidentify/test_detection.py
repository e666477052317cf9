"""Text in the pixels of a file, found for `"Detect": "check"` and `"blackout"`."""

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont

import autorthanc_spool
from autorthanc_spool.core.errors import DetectorMissing, Fate
from autorthanc_spool.deidentify.boxes import Box
from autorthanc_spool.deidentify.detection import CANT_BE_READ, SHOWS_PATIENT, SOURCE
from autorthanc_spool.deidentify.detector import Detector, Found
from autorthanc_spool.deidentify.file import Deidentified, Deidentifier, Held
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.rules import AnonymiseOptions
from tests.deidentify.make import KEY
from tests.helpers import pages, reading

BLACKOUT = AnonymiseOptions("trial", burned_in="redact", detect="blackout")
CHECK = AnonymiseOptions("trial", detect="check")
# Twenty pages: sizes, contrasts and backgrounds in turn, three of them with text that is turned.
CASES = [
    (seed, size, contrast, background, seed % 7 == 6)
    for seed, (size, contrast, background) in enumerate(
        (size, contrast, background)
        for background in ("black", "body", "fan", "real CT", "real MR")
        for size, contrast in ((10, 1.5), (12, 3.0), (16, 5.0), (20, 10.0))
    )
]


def deidentified(data: bytes, options: AnonymiseOptions) -> Deidentified | Held:
    return Deidentifier(Profile(options), Pseudonymiser(KEY, options.project)).file(memoryview(data))


def made(data: bytes, options: AnonymiseOptions) -> tuple[Deidentified, bytes]:
    found = deidentified(data, options)
    assert isinstance(found, Deidentified), found
    return found, found.bytes(memoryview(data))


def pixels_of(data: bytes) -> Any:
    return pydicom.dcmread(io.BytesIO(data)).pixel_array


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def page() -> pages.Page:
    return pages.page(3, size_px=16, contrast=5.0, background="body", rotated=False, side=320)


def test_tesseract_reads_no_page_that_was_blacked_out() -> None:
    before, after = [], []
    for seed, size, contrast, background, rotated in CASES:
        page = pages.page(seed, size_px=size, contrast=contrast, background=background, rotated=rotated, side=288)
        original = pages.dataset(page)
        found, data = made(original, BLACKOUT)
        assert found.black.sources == (SOURCE,)
        if seed % 5 == 0:
            before += reading.readable(page, reading.tesseract(reading.picture(original), rotated=rotated))
        after += [
            (seed, kind) for kind in reading.readable(page, reading.tesseract(reading.picture(data), rotated=rotated))
        ]
    assert len(before) > 5
    assert after == []


def test_text_is_blacked_out_with_a_margin_and_nothing_else_is(page: pages.Page) -> None:
    found, data = made(pages.dataset(page), BLACKOUT)
    changed = pixels_of(data) != page.stored
    shown = reading.picture(data)
    assert found.black.boxes >= len(page.items)
    assert all((shown[one.rows, one.columns][one.ink] == 0).all() for one in page.items)
    near = np.zeros(changed.shape, bool)
    for one in page.items:
        near[
            max(one.rows.start - 20, 0) : one.rows.stop + 20, max(one.columns.start - 40, 0) : one.columns.stop + 40
        ] = True
    assert not (changed & ~near).any()


def test_what_detection_alone_blacked_out_isnt_called_clean(page: pages.Page) -> None:
    _, data = made(pages.dataset(page), BLACKOUT)
    image = pydicom.dcmread(io.BytesIO(data))
    assert "BurnedInAnnotation" not in image
    assert "113101" not in [one.CodeValue for one in image.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize("kind", ["real CT", "real MR"])
@pytest.mark.parametrize("seed", range(3))
def test_a_clean_slice_stays_as_it_is(kind: str, seed: int) -> None:
    one = pages.clean(seed, kind)
    found, data = made(pages.dataset(one), BLACKOUT)
    assert found.black.boxes == 0
    assert (pixels_of(data) == one.stored).all()
    assert isinstance(deidentified(pages.dataset(one), CHECK), Deidentified)


def test_an_image_that_shows_its_patient_is_withheld_although_nothing_else_suspects_it(page: pages.Page) -> None:
    assert isinstance(deidentified(pages.dataset(page), AnonymiseOptions("trial")), Deidentified)
    held = deidentified(pages.dataset(page), CHECK)
    assert isinstance(held, Held)
    assert held.reason == SHOWS_PATIENT


@pytest.mark.parametrize("burned_in", ["withhold", "allow", "redact"])
def test_an_image_that_shows_other_words_is_not_withheld(page: pages.Page, burned_in: Any) -> None:
    somebody = {
        "PatientName": "Bergström^Ulla",
        "PatientID": "55120077",
        "AccessionNumber": "X9120",
        "PatientBirthDate": "",
    }
    others = pages.dataset(page, **somebody, StudyDate="19990105", SeriesDate="19990105")
    found, data = made(others, AnonymiseOptions("trial", burned_in=burned_in, detect="check"))
    assert found.black.boxes == 0
    assert (pixels_of(data) == page.stored).all()


def test_the_reason_says_nothing_of_what_was_read(page: pages.Page) -> None:
    held = deidentified(pages.dataset(page), CHECK)
    assert isinstance(held, Held)
    for word in (page.person.family, page.person.given, page.person.patient_id):
        assert word.casefold() not in held.reason.casefold()


def test_text_of_one_frame_is_black_in_all_of_them(page: pages.Page) -> None:
    blank = np.full_like(page.stored, page.stored.min())
    frames = np.stack([blank, blank, page.stored, blank])
    data = pages.dataset(page, NumberOfFrames="4", PixelData=frames.tobytes())
    assert isinstance(deidentified(data, CHECK), Held)
    found, after = made(data, BLACKOUT)
    changed = pixels_of(after) != frames
    assert found.black.boxes >= len(page.items)
    assert changed[2].any()
    pixels = pixels_of(after)
    for one in page.items:
        strokes = pixels[:, one.rows, one.columns][:, one.ink]
        assert (strokes == strokes[0, 0]).all()


def test_text_that_the_window_hides_is_found() -> None:
    page = pages.page(5, size_px=20, contrast=5.0, background="black", rotated=False)
    stored = page.stored.astype("uint16")
    data = pages.dataset(page, WindowCenter=-5000, WindowWidth=100, BitsAllocated=16, PixelData=stored.tobytes())
    assert reading.picture(data).min() == reading.picture(data).max()
    assert isinstance(deidentified(data, CHECK), Held)


def test_coloured_text_is_found(detector: Detector, page: pages.Page) -> None:
    shown = np.zeros((*page.stored.shape, 3), np.uint8)
    for one in page.items:
        shown[one.rows, one.columns, 2][one.ink] = 255
    texts = [text for _, text in detector.boxes_of_text(shown)]
    assert len(reading.readable(page, "\n".join(texts))) == len(page.items)


# Text of 6 and 8 pixels in noise and grain, some of which one stretched picture alone doesn't show.
@pytest.mark.parametrize("seed", [57, 184, 398, 507])
def test_small_text_in_noise_is_found(seed: int) -> None:
    one = pages.page(seed)
    assert one.size_px <= 8
    _, data = made(pages.dataset(one), BLACKOUT)
    shown = reading.picture(data)
    assert all((shown[item.rows, item.columns][item.ink] == 0).mean() >= 0.95 for item in one.items)


# Names, drawn by a font of Debian's packages, in scripts that the reader wasn't trained with.
SCRIPTS = {
    "cyrillic": ("Смирнова Ольга", "Смирнова^Ольга"),
    "greek": ("Γεωργίου Νίκος", "Γεωργίου^Νίκος"),
    "armenian": ("Անի Հակոբյան", "Հակոբյան^Անի"),
    "arabic": ("فاطمة الزهراء", "الزهراء^فاطمة"),
}


def written_in(script: str, name: str) -> tuple[bytes, Any]:
    text, _ = SCRIPTS[script]
    font = ImageFont.truetype(str(pages.FOLDER_OF_FONTS / pages.FONTS[0]), 22)
    image = Image.new("L", (320, 320), 20)
    ImageDraw.Draw(image).text((30, 40), text, font=font, fill=220)
    stored = np.asarray(image)
    one = pages.clean(0, "black")
    shown = replace(one, stored=stored, bits=8, photometric="MONOCHROME2", window=None)
    return pages.dataset(shown, PatientName=name, SpecificCharacterSet="ISO_IR 192"), stored > 120


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_line_of_any_script_is_blacked_out(script: str) -> None:
    data, ink = written_in(script, "DOE^JANE")
    _, after = made(data, BLACKOUT)
    assert (reading.picture(after)[ink] == 0).all()


@pytest.mark.parametrize("script", SCRIPTS)
def test_who_is_named_in_a_script_that_cant_be_read_is_withheld_where_there_is_text(script: str) -> None:
    data, _ = written_in(script, SCRIPTS[script][1])
    held = deidentified(data, CHECK)
    assert isinstance(held, Held)
    assert held.reason == CANT_BE_READ


def test_who_is_named_in_a_script_that_cant_be_read_leaves_where_there_is_none(page: pages.Page) -> None:
    named = {"PatientName": "Смирнова^Ольга", "SpecificCharacterSet": "ISO_IR 192"}
    assert isinstance(deidentified(pages.dataset(pages.clean(2, "real MR"), **named), CHECK), Deidentified)
    # Nor does text hinder it that is read surely, and is another's.
    others = {"PatientID": "55120077", "AccessionNumber": "X9120", "PatientBirthDate": ""}
    others |= {"StudyDate": "19990105", "SeriesDate": "19990105"}
    assert isinstance(deidentified(pages.dataset(page, **named, **others), CHECK), Deidentified)


@pytest.mark.parametrize("degrees", [-150, -70, -45, -12, 12, 30, 45, 70, 135, 170])
def test_text_at_a_slope_is_found_and_read(detector: Detector, page: pages.Page, degrees: int) -> None:
    words = Image.new("L", (320, 320))
    font = ImageFont.truetype(str(pages.FOLDER_OF_FONTS / pages.FONTS[0]), 20)
    name = f"{page.person.family} {page.person.given}"
    ImageDraw.Draw(words).text((160, 160), name, font=font, fill=255, anchor="mm")
    strokes = np.asarray(words.rotate(degrees, Image.Resampling.BICUBIC)) > 120
    shown = np.where(strokes, 230, 25).astype(np.uint8)
    black = np.zeros(shown.shape, bool)
    for box, text in detector.boxes_of_text(shown):
        black[box.top : box.bottom, box.left : box.right] = True
        assert page.person.family.casefold() in text.casefold()
    assert black[strokes].all()
    # A box around a slope holds more than the text, but not all.
    assert black.mean() < 0.6


# Text on speckle, tissue and noise that a contrast of 1.1 hardly shows: that it is of one shade does.
@pytest.mark.parametrize("seed", [20003, 20043, 20650])
def test_faint_text_of_one_shade_is_found(seed: int) -> None:
    one = pages.page(seed)
    assert one.contrast == 1.1
    _, data = made(pages.dataset(one), BLACKOUT)
    shown = reading.picture(data)
    assert all((shown[item.rows, item.columns][item.ink] == 0).mean() >= 0.95 for item in one.items)


def test_what_is_read_less_surely_counts_where_there_is_other_text(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = Found(Box(10, 10, 20, 60), 0.8, "MUELLER", 0.55)
    monkeypatch.setattr(detector, "found", lambda _: [unsure])
    frame = np.zeros((100, 100), np.uint8)
    assert detector.boxes_of_text(frame) == []
    assert [text for _, text in detector.boxes_of_text(frame, has_text=True)] == ["MUELLER"]


def test_one_short_line_that_nobody_can_read_may_be_anything(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, other = Found(Box(10, 10, 30, 52), 0.95, "", 0.0), Found(Box(40, 10, 60, 52), 0.95, "", 0.0)
    long, faint = Found(Box(70, 10, 90, 80), 0.95, "", 0.0), Found(Box(70, 10, 90, 80), 0.85, "", 0.0)
    frame, image = np.zeros((100, 100), np.uint8), Box(0, 0, 100, 100)
    for found, count in (([short], 0), ([short, other], 2), ([long], 1), ([faint], 0)):
        monkeypatch.setattr(detector, "found", lambda _, found=found: found)
        assert len(detector.boxes_of_text(frame)) == count
        assert detector.shows_unknown_letters(found, image) is (count > 0)


def test_a_large_picture_is_looked_at_in_tiles(detector: Detector) -> None:
    page = pages.page(8, size_px=12, contrast=10.0, background="black", rotated=False)
    shown = np.zeros((1500, 1700), np.uint8)
    text = reading.picture(pages.dataset(page))
    rows, columns = text.shape
    shown[-rows:, -columns:] = text
    boxes = [box for box, _ in detector.boxes_of_text(shown)]
    down, right = shown.shape[0] - rows, shown.shape[1] - columns
    for one in page.items:
        place = Box(one.rows.start + down, one.columns.start + right, one.rows.stop + down, one.columns.stop + right)
        assert any(not place.clipped(box).is_empty for box in boxes), one.text


def test_an_empty_picture_has_no_text(detector: Detector) -> None:
    assert detector.boxes_of_text(np.zeros((64, 80), np.uint8)) == []
    assert detector.boxes_of_text(np.full((1, 1, 3), 255, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 2), (2, 300), (300, 2), (7, 5, 3)])
def test_a_picture_of_any_shape_can_be_looked_at(detector: Detector, shape: tuple[int, ...]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for box, _ in detector.boxes_of_text(noise):
        assert box.within(Box(0, 0, *shape[:2]))


# Anonymises a file under the options that are given, in a process of its own.
_PROGRAM = """
import sys
from pathlib import Path
from autorthanc_spool.core.errors import DetectorMissing
from autorthanc_spool.deidentify.file import Deidentifier
from autorthanc_spool.deidentify.key import Key
from autorthanc_spool.deidentify.profile import Profile
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.rules import AnonymiseOptions
options = AnonymiseOptions("trial", burned_in="redact", detect={detect!r})
ours = Deidentifier(Profile(options), Pseudonymiser(Key(bytes(32)), "trial"))
try:
    ours.file(memoryview(Path(sys.argv[1]).read_bytes()))
except DetectorMissing as error:
    print(error)
else:
    print(*sys.modules)
"""


def printed(page: pages.Page, folder: Path, detect: str | None, *options: str) -> str:
    path = folder / "page.dcm"
    path.write_bytes(pages.dataset(page))
    command = [sys.executable, *options, "-c", _PROGRAM.format(detect=detect), str(path)]
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'packages'}:{Path(autorthanc_spool.__file__).parents[1]}"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout


@pytest.mark.parametrize("detect", ["check", "blackout"])
def test_without_the_extra_nothing_leaves(page: pages.Page, tmp_path: Path, detect: str) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for one in Path(np.__file__).parents[1].iterdir():
        if not one.name.startswith("onnxruntime"):
            (packages / one.name).symlink_to(one)
    # -S: without the folder of packages that this interpreter has.
    assert "onnxruntime can't be found" in printed(page, tmp_path, detect, "-S")
    assert DetectorMissing("").fate is Fate.WAIT


def test_without_detection_none_of_its_packages_is_imported(page: pages.Page, tmp_path: Path) -> None:
    loaded = set(printed(page, tmp_path, None).split())
    assert {"autorthanc_spool.deidentify.detection", "autorthanc_spool.deidentify.models"} <= loaded
    assert {"cv2", "onnxruntime", "rapidocr", "autorthanc_spool.deidentify.detector"}.isdisjoint(loaded)
