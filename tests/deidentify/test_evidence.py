"""What of a file's own names, identifiers and places is found in its texts, and what the field's words are left for."""

import io
import string
import struct
import tracemalloc
from typing import Any

import pydicom
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from autorthanc_spool.deidentify.field_words import field_words
from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.rules import Keep, PrivateElement
from tests.deidentify import corpus, real
from tests.deidentify.corpus import Elements
from tests.deidentify.make import anonymised, deidentifier
from tests.deidentify.real import TAKEN

WORDS_KEPT = frozenset({Keep.DESCRIPTORS})
STUDY_DESCRIPTION, SEQUENCE_NAME, DETECTOR_DESCRIPTION = 0x00081030, 0x00180024, 0x00187006
NAME, ID = 0x00100010, 0x00100020


def published(elements: Elements, keep: frozenset[Keep] = WORDS_KEPT, **options: Any) -> pydicom.Dataset:
    data = corpus.file({**corpus.image(), **elements})
    return pydicom.dcmread(io.BytesIO(anonymised(data, keep=keep, **options)))


def description(words: str, *, name: str = "", patient: str = "", **more: tuple[int, str, str]) -> str | None:
    """What happens to a description beside a name and an identifier; None when it goes."""
    elements: Elements = {
        0x00080005: ("CS", b"ISO_IR 192"),
        NAME: ("PN", name.encode()),
        ID: ("LO", patient.encode()),
        STUDY_DESCRIPTION: ("LO", words.encode()),
    }
    elements |= {tag: (vr, value.encode()) for tag, vr, value in more.values()}
    found = published(elements).get("StudyDescription")
    return None if found is None else str(found)


REWRITTEN = [
    ("0007123456", "T1 pat 7123456"),
    ("MRN-7123456", "T1 pat 7123456"),
    ("MRN-7123456", "T1 pat 00 7123456"),
    ("7123456", "T1 pat 0007123456"),
    ("7123456", "T1 712-34-56"),
    ("7123456", "T1 712.3456/2"),
    ("7123456", "t1_71 23 456"),
    ("7123456", "T1 7123A456"),
    ("7123456", "T1 7/pat123456"),
    ("7123456", "T1 71234567"),
    ("7123456-8", "T1 7123456"),
    ("71234568", "T1 7123456"),
    ("7123456", "T1 \uff17\uff11\uff12\uff13\uff14\uff15\uff16"),
    ("7123456", "T1 ٧١٢٣٤٥٦"),
    ("712-34-56", "T1 7123456"),
    ("P7A12B3456", "T1 7123456"),
    ("ab-12c/9", "T1 AB12C9 axial"),
    ("ab-12c/9", "T1 Ab 12.c9 axial"),
    ("P00123", "T1 of p123"),
    ("P123", "T1 of P-00123"),
    ("0004711", "T1 of 4711"),
    ("4711", "T1of4711."),
    ("12345", "T1 123-45"),
    ("7123456^^^HOSP&1.2.3&ISO^MR", "T1 7123456"),
    ("PAT001", "T1 pat001"),
    ("AB12", "T1patAB12"),
    ("B9NR021", "t1 b 9 n r 0 2 1"),
    ("36927", "T136927axial"),
    ("1673", "T11673"),
    ("4711", "T1_pid4711x"),
]


@pytest.mark.parametrize(("patient", "words"), REWRITTEN)
def test_an_identifier_is_found_however_it_is_written(patient: str, words: str) -> None:
    assert description(words, patient=patient) is None


OTHER_IDENTIFIERS = {
    "AccessionNumber": (0x00080050, "SH"),
    "OtherPatientIDs": (0x00101000, "LO"),
    "AdmissionID": (0x00380010, "LO"),
    "PlacerOrderNumberImagingServiceRequest": (0x00402016, "LO"),
    "FillerOrderNumberImagingServiceRequestRetired": (0x00402007, "SH"),
    "PlacerOrderNumberProcedure": (0x00401006, "SH"),
    "RequestedProcedureID": (0x00401001, "SH"),
    "PatientTelephoneNumbers": (0x00102154, "SH"),
}


@pytest.mark.parametrize(("tag", "vr"), OTHER_IDENTIFIERS.values(), ids=OTHER_IDENTIFIERS)
def test_so_is_every_other_number_of_the_patient(tag: int, vr: str) -> None:
    elements: Elements = {
        tag: (vr, b"A-00812345"),
        STUDY_DESCRIPTION: ("LO", b"T1 of 812-345"),
        SEQUENCE_NAME: ("SH", b"tse 812345"),
    }
    found = published(elements)
    assert "StudyDescription" not in found
    assert found.SequenceName == "ANONYMISED"


def test_an_issuer_is_found_where_it_is_in_a_sequence_too() -> None:
    issuer: Elements = {0x00400031: ("UT", b"Quillmere Trust"), 0x00400032: ("UT", b"quillmere.example.org")}
    for words in (b"T1 for Quillmere Trust", b"T1, quillmere example org"):
        elements: Elements = {0x00100024: ("SQ", [issuer]), STUDY_DESCRIPTION: ("LO", words)}
        assert "StudyDescription" not in published(elements)


letters = st.sampled_from(string.ascii_uppercase)
separators = st.sampled_from(["", "", "", "-", " ", ".", "/", "_"])


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[str, str]:
    """A patient's number, and the same in another spelling."""
    number = draw(st.from_regex(r"[1-9][0-9]{5,11}", fullmatch=True))
    prefix = draw(st.text(letters, max_size=3)) + draw(separators)
    patient = prefix + "0" * draw(st.integers(0, 3)) + number
    pieces = [draw(st.sampled_from([one, chr(0xFF10 + int(one))])) + draw(separators) for one in number]
    start = "0" * draw(st.integers(0, 4))
    end = draw(st.sampled_from(["", "", "7", "-7"]))
    return patient, f"T1 of {start}{''.join(pieces)}{end}"


@given(rewritten())
def test_any_other_way_of_writing_is_found(found: tuple[str, str]) -> None:
    patient, words = found
    assert description(words, patient=patient) is None


@st.composite
def innocuous(draw: st.DrawFn) -> tuple[str, str, str]:
    """A patient, and words of the field with sizes and times, none of them his."""
    words = st.one_of(st.sampled_from(sorted(field_words())), st.integers(0, 999).map(str))
    text = " ".join(draw(st.lists(words, min_size=1, max_size=6)))
    patient = draw(st.from_regex(r"[A-Z]{0,3}[1-9][0-9]{6,11}", fullmatch=True))
    name = "^".join(draw(st.lists(st.sampled_from(["Zzyzx", "Quorzyk", "Wyxnik"]), min_size=2, max_size=2)))
    digits = "".join(one for one in text if one.isdigit())
    assume(not any(patient[at : at + 6] in digits for at in range(len(patient))))
    return text[:64], name, patient


@given(innocuous())
def test_innocuous_words_stay(found: tuple[str, str, str]) -> None:
    words, name, patient = found
    assert description(words, name=name, patient=patient) == words.strip()


NAMES = [
    ("Siemens^Anna", "MR for Anna"),
    ("Head^John", "MR HEAD John"),
    ("Head^John", "MRJohn"),
    ("Head^John", "axial JOHNHEAD"),
    ("Head^John^Q", "axial headjohn"),
    ("Head^Neck", "CT of Neck Head"),
    ("Head^J", "MR Head, J."),
    ("Hand^John", "T1_J. Hand"),
    ("Hand^An", "T1 an hand"),
    ("Ng^Li", "MR LI NG"),
    ("Ng^Siew", "MR Ng"),
    ("Kim^Eva", "mr_kim_2"),
    ("Kim^Eva", "MRKim"),
    ("van der Berg^Jan", "T1 vanderberg"),
    ("van der Berg^Jan", "T1 J. Berg"),
    ("Smithfield^Johanna", "johannasmithfield"),
    ("Smithfield^Johanna", "smith field"),
    ("HEAD JOHN", "T1 john"),
    ("Ким^Ева", "голова Ким"),
    ("Dixon^Paul", "T1 DIXON"),
    ("Phantom^7123456", "pat 7123456"),
    ("ศรีสุข^สมชาย", "สมองของศรีสุข"),
    ("O'Brien^Sean", "T1 OBrien"),
]


@pytest.mark.parametrize(("name", "words"), NAMES)
def test_a_name_with_a_word_of_the_field_in_it_is_found_by_the_rest(name: str, words: str) -> None:
    assert description(words, name=name) is None


FIELD = [
    ("Siemens^Phantom", "SIEMENS T1"),
    ("Siemens^Anna", "SIEMENS head T1"),
    ("Head^John", "MR HEAD"),
    ("Abel^Zoë", "label of the sternum"),
    ("Иванов^И", "голова и шея"),
    ("van der Berg^Jan", "Untersuchung der Leber von links"),
    ("PANCREAS", "Pancreas"),
    ("Anonymous", "Anonymous brain"),
]


@pytest.mark.parametrize(("name", "words"), FIELD)
def test_a_word_of_the_field_alone_is_not_a_name(name: str, words: str) -> None:
    assert description(words, name=name) == words


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00200010, "SH", "1"),
        (0x00200010, "SH", "12"),
        (0x00200010, "SH", "T1"),
        (0x00081070, "PN", "SE"),
        (0x00081070, "PN", "KXM"),
        (0x00080050, "SH", "301"),
        (0x00200010, "SH", "BRAIN"),
        (0x00200010, "SH", "0000"),
    ],
)
def test_what_is_short_or_of_the_field_identifies_nothing(tag: int, vr: str, value: str) -> None:
    words = "SE T1 brain 1 12 301 KXM 0000"
    elements: Elements = {tag: (vr, value.encode()), STUDY_DESCRIPTION: ("LO", words.encode())}
    elements |= {0x00181030: ("LO", words.encode()), SEQUENCE_NAME: ("SH", b"*se2d1")}
    found = published(elements)
    assert (found.StudyDescription, found.ProtocolName, found.SequenceName) == (words, words, "*se2d1")


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("Siemens^Phantom", {"Manufacturer": "SIEMENS", "ManufacturerModelName": "SIEMENS Phantom"}),
        ("PHILIPS^Healthcare", {"Manufacturer": "Philips Healthcare"}),
        ("GE MEDICAL SYSTEMS", {"Manufacturer": "GE MEDICAL SYSTEMS"}),
        ("Flash^Test", {"SequenceName": "*flash2d1", "PulseSequenceName": "FLASH"}),
        ("Head^Coil", {"ReceiveCoilName": "HEAD COIL", "TransmitCoilName": "Body"}),
        ("Watershed^Test", {"AlgorithmName": "Watershed", "SegmentLabel": "Kidney"}),
        ("Axial^Primary", {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "BodyPartExamined": "HEADNECK"}),
    ],
)
def test_what_a_file_needs_stays_for_a_patient_named_after_it(name: str, attributes: dict[str, Any]) -> None:
    data = pydicom.dcmread(io.BytesIO(corpus.file({**corpus.image(), NAME: ("PN", name.encode())})))
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    out = io.BytesIO()
    data.save_as(out)
    found = pydicom.dcmread(io.BytesIO(anonymised(out.getvalue())))
    assert {keyword: found[keyword].value for keyword in attributes} == attributes


def test_of_several_values_those_that_identify_become_dummies_and_none_becomes_nothing() -> None:
    elements: Elements = {
        NAME: ("PN", b"Smithfield^Johanna"),
        0x00080008: ("CS", b"ORIGINAL\\PRIMARY\\SMITHFIELD"),
        0x00080070: ("LO", b"Smithfield "),
        0x00181020: ("LO", b"VB17\\for Johanna\\5.4"),
        corpus.OUTER: ("SQ", [{0x00080100: ("SH", b"SMITHFIELD"), 0x00080104: ("LO", b"Johanna's")}]),
    }
    found = published(elements, frozenset())
    assert found.ImageType == ["ORIGINAL", "PRIMARY", "ANONYMISED"]
    assert found.Manufacturer == "ANONYMISED"
    assert found.SoftwareVersions == ["VB17", "ANONYMISED", "5.4"]
    code = found.AnatomicRegionSequence[0]
    assert (code.CodeValue, code.CodeMeaning) == ("ANONYMISED", "ANONYMISED")


ADDRESSES: dict[str, tuple[int, str]] = {
    "PatientAddress": (0x00101040, "LO"),
    "ReferringPhysicianAddress": (0x00080092, "ST"),
    "ResponsibleOrganization": (0x00102299, "LO"),
    "PersonAddress": (0x00401102, "ST"),
    "AddressTrial": (0x0040A353, "ST"),
    "InstitutionAddress": (0x00080081, "ST"),
}


def beside(tag: int, vr: str, value: str, words: str) -> tuple[object, object]:
    """A description and another text beside an attribute; None where the text goes."""
    elements: Elements = {0x00080005: ("CS", b"ISO_IR 192"), tag: (vr, value.encode())}
    elements |= {STUDY_DESCRIPTION: ("LO", words.encode()), DETECTOR_DESCRIPTION: ("LT", words.encode())}
    found = published(elements)
    text = found.DetectorDescription
    return found.get("StudyDescription"), None if text == "ANONYMISED" else text


@pytest.mark.parametrize(("tag", "vr"), ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("words", ["77 Wexcombe Rd", "of Wexcombe", "from BRISTOL", "bs67qt", "at Wexcombe Road,77"])
def test_of_every_address_a_part_is_found(tag: int, vr: str, words: str) -> None:
    assert beside(tag, vr, "77 Wexcombe Road, Bristol BS6 7QT", words) == (None, None)


PARTS_OF_ADDRESSES = [
    ("12 Elm St\r\nLeeds LS1 4AP", "CT of 12, Elm Street"),
    ("12 Elm St\r\nLeeds LS1 4AP", "CT LS1-4AP"),
    ("12 Elm St^^Leeds", "CT 12 ELM ST"),
    ("1 Main Street, Springfield", "CT 1 Main Street"),
    ("1 Main Street, Springfield", "CT Springfield"),
    ("1 Main Street, Springfield IL 62704-1234", "CT 62704"),
    ("Lindenstraße 12, 01067 Ulm", "CT Lindenstr. 12"),
    ("Lindenstraße 12, 01067 Ulm", "CT LINDENSTRASSE"),
    ("Lindenstraße 12, 01067 Ulm", "CT 01067"),
    ("Am Hof 3, 1010 Wien", "CT Am Hof 3"),
    ("Am Hof 3, 1010 Wien", "CT 1010 Wien"),
    ("5 rue de la Paix, Paris", "CT 5 rue de la paix"),
    ("The Close, High Wycombe, United Kingdom", "CT high wycombe"),
    ("Müllerweg 5", "CT Muellerweg"),
    ("東京都新宿区西新宿2-8-1", "東京都新宿区西新宿 CT"),
    ("ul. Zielona 4, 00-950 Wola", "CT 00 950"),
]


@pytest.mark.parametrize(("address", "words"), PARTS_OF_ADDRESSES)
def test_a_part_of_an_address_is_found(address: str, words: str) -> None:
    assert beside(0x00101040, "LO", address, words) == (None, None)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("12 Elm St, Leeds", "CT 12 mm, elm"),
        ("2 Long Lane, Leeds", "T1 2 long axis views"),
        ("7 Church Street, North Station, United Kingdom", "station 2, church hat view from north, united"),
        ("4 Head Street, Hand", "head and hand, 4 slices"),
        ("Flat 12, Germany", "flat detector 12, SIEMENS Germany"),
        ("Hauptstraße 3", "3 mm slices, hauptstrasse"),
        ("8001 Zug", "TR 8001 TE 12"),
        ("N/A", "n/a"),
        ("ENTER ADDRESS", "address of the buffer"),
    ],
)
def test_words_and_numbers_that_any_address_has_stay(address: str, words: str) -> None:
    assert beside(0x00101040, "LO", address, words) == (words, words)


TELEPHONES: dict[str, tuple[int, str]] = {
    "PatientTelephoneNumbers": (0x00102154, "SH"),
    "PatientTelecomInformation": (0x00102155, "LT"),
    "ReferringPhysicianTelephoneNumbers": (0x00080094, "SH"),
    "PersonTelephoneNumbers": (0x00401103, "LO"),
    "OrderCallbackPhoneNumber": (0x00402010, "SH"),
}


@pytest.mark.parametrize(("tag", "vr"), TELEPHONES.values(), ids=TELEPHONES)
@pytest.mark.parametrize(
    "number", ["+441179555123", "+44 117 9555123", "0044117 9555123", "0117 955-5123", "01179555123"]
)
@pytest.mark.parametrize("words", ["CT 0117 9555123", "CT 01179555123", "CT 955 51 23", "CT 00441179555123"])
def test_a_telephone_number_is_found_with_and_without_its_country(tag: int, vr: str, number: str, words: str) -> None:
    assert beside(tag, vr, number, words) == (None, None)


@pytest.mark.parametrize("number", ["+49 (0)621 / 123456", "tel +49 621 123456, fax 17", "0621/123456\\0621/99"])
def test_a_telephone_number_is_found_however_it_was_written(number: str) -> None:
    assert beside(0x00102154, "SH", number, "CT 0621123456") == (None, None)


def test_an_address_of_mail_is_found_in_other_text() -> None:
    value = "mob 0621/123456; jane.doe@example.org (home)"
    assert beside(0x00102155, "LT", value, "CT jane.doe@example.org") == (None, None)


CODED: dict[str, tuple[int, str, str]] = {
    "birth date": (0x00100030, "DA", "19410203"),
    "study date": (0x00080020, "DA", "20260102"),
    "patient": (NAME, "PN", "Quackenbush^Theodora"),
    "physician": (0x00080090, "PN", "Housewright^Gregory"),
    "order": (0x00080050, "SH", "ACC5550123"),
    "institution": (0x00080080, "LO", "Fernwood Infirmary"),
    "station": (0x00081010, "SH", "STAT4477X"),
    "serial number": (0x00181000, "LO", "SN-445566"),
    "title": (0x00080055, "AE", "QUILLAE7"),
}


WORDS_OF_SOMEBODY = (
    *("19410203", "D19410203", "03021941", "03FEB1941", "1941 02 03", "20260102", "QUACKENBUSHT", "T_HOUSEWRIGHTX"),
    *("ACC5550123", "X_5550123", "FERNWOOD", "FERNWOOD_2", "INFIRMARY", "STAT4477X", "STAT_4477_X", "SN445566"),
    *("445566", "QUILLAE7"),
)


@pytest.mark.parametrize("value", WORDS_OF_SOMEBODY)
def test_a_coded_word_goes_if_it_names_somebody_or_a_day_or_a_place(value: str) -> None:
    elements: Elements = {tag: (vr, one.encode()) for tag, vr, one in CODED.values()}
    elements |= {0x00180022: ("CS", value.encode()), 0x00080008: ("CS", f"ORIGINAL\\PRIMARY\\{value}".encode())}
    found = published(elements, frozenset(), burned_in="allow")
    assert found.ScanOptions == "ANONYMISED"
    assert found.ImageType == ["ORIGINAL", "PRIMARY", "ANONYMISED"]


@pytest.mark.parametrize(
    ("institution", "station", "name"),
    [
        ("Original Treatment Center", "AXIAL", "Origin^Primar"),
        ("Stereotactic External Therapy", "EXTERNAL_BEAM", "Verton^Ration"),
        ("Stationary Vertical Imaging", "TREATMENT", "Extern^Alma"),
        ("Volume", "SCREEN", "Static^Dynamic"),
    ],
)
def test_a_defined_term_stays_whatever_persons_things_and_places_are_called(
    institution: str, station: str, name: str
) -> None:
    words = b"TREATMENT\\EXTERNAL\\STEREOTACTIC\\VERTICAL\\STATIC\\INSPIRATION"
    elements: Elements = {
        NAME: ("PN", name.encode()),
        0x00080080: ("LO", institution.encode()),
        0x00081010: ("SH", station.encode()),
        0x00180022: ("CS", words),
    }
    found = published(elements, frozenset())
    assert found.ImageType == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert "\\".join(found.ScanOptions) == words.decode()


def test_a_name_over_two_values_takes_both() -> None:
    elements: Elements = {NAME: ("PN", b"Head^Johann"), 0x00181020: ("LO", b"JOH\\ANN")}
    assert published(elements).SoftwareVersions == ["ANONYMISED", "ANONYMISED"]


CONTACTS = [
    "ask jane@example.org",
    "ask jane(at)example.org",
    "see https://example.org/x",
    "see www.example.org",
    "tel. 030 1234",
    "call 12345",
    "Tel: 0621/123-456",
    "+49 621 123456",
    "(555) 123-4567",
    "back to 555-123-4567",
    "0621 / 1234 56",
]


@pytest.mark.parametrize("words", CONTACTS)
def test_a_description_that_says_how_to_reach_somebody_goes(words: str) -> None:
    assert description(words) is None


@pytest.mark.parametrize(
    "words",
    [
        "TR 500 TE 12 TI 120",
        "b0-500-1000",
        "0.625 x 0.625",
        "DWI 0/50/100/800",
        "CT 120 kV 250 mAs 3.0 B30s",
        "resting state 300 vol",
        "3D T1 1.0 mm @ 3T",
        "ep2d_diff_4scan_trace_p2",
    ],
)
def test_sizes_and_times_are_not_telephone_numbers(words: str) -> None:
    assert description(words) == words


def test_other_text_keeps_the_address_of_its_kind() -> None:
    elements: Elements = {corpus.OUTER: ("SQ", [{0x0008010E: ("UR", b"https://example.org/codes")}])}
    assert published(elements).AnatomicRegionSequence[0].CodingSchemeURL == "https://example.org/codes"


DEVICES: dict[str, tuple[int, str, bytes, bytes, Keep]] = {
    "DeviceSerialNumber": (0x00181000, "LO", b"SN-0045123", b"det of 45123", Keep.DEVICE),
    "StationName": (0x00081010, "SH", b"QUILLMR7", b"panel quillmr7", Keep.DEVICE),
    "StationAETitle": (0x00080055, "AE", b"QUILLAE", b"panel quillae", Keep.DEVICE),
    "TreatmentMachineName": (0x300A00B2, "SH", b"Linac Quill", b"linac-quill", Keep.DEVICE),
    "DetectorID": (0x0018700A, "SH", b"QDX77", b"panel QDX-77", Keep.DEVICE),
    "InstitutionName": (0x00080080, "LO", b"Quillmere Hospital", b"of quillmere", Keep.INSTITUTION),
    "InstitutionAddress": (0x00080081, "ST", b"7 Quill Lane, Mere", b"7 Quill Lane Mere", Keep.INSTITUTION),
    "InstitutionalDepartmentName": (0x00081040, "LO", b"Ward Quill", b"of ward quill", Keep.INSTITUTION),
}


@pytest.mark.parametrize("keyword", DEVICES)
def test_what_names_a_device_or_place_goes_from_other_text_unless_it_is_kept(keyword: str) -> None:
    tag, vr, value, words, keep = DEVICES[keyword]
    elements: Elements = {
        tag: (vr, value),
        DETECTOR_DESCRIPTION: ("LT", words),
        0x300200B2: ("SH", words[:16]),
        STUDY_DESCRIPTION: ("LO", words),
    }
    found = published(elements)
    assert "StudyDescription" not in found
    assert found.DetectorDescription == "ANONYMISED"
    kept = published(elements, WORDS_KEPT | {keep})
    assert (kept.DetectorDescription, kept.StudyDescription) == (words.decode(), words.decode())


@pytest.mark.parametrize("where", ["InstitutionCodeSequence", "PersonIdentificationCodeSequence"])
def test_codes_of_places_and_persons_are_found_too(where: str) -> None:
    code: Elements = {0x00080100: ("SH", b"QM4711"), 0x00080104: ("LO", b"Quillmere")}
    inner: Elements = {0x00080082 if where.startswith("I") else 0x00401101: ("SQ", [code])}
    for words in (b"T1 for QM-4711", b"T1 for quillmere"):
        assert "StudyDescription" not in published({**inner, STUDY_DESCRIPTION: ("LO", words)})
        assert "StudyDescription" not in published({0x00080096: ("SQ", [inner]), STUDY_DESCRIPTION: ("LO", words)})


def test_a_station_named_after_its_model_takes_no_model_away() -> None:
    elements: Elements = {
        0x00081010: ("SH", b"WALDO32"),
        0x00081090: ("LO", b"Waldo 32 XR"),
        DETECTOR_DESCRIPTION: ("LT", b"Waldo panel"),
    }
    found = published(elements)
    assert (found.ManufacturerModelName, found.DetectorDescription) == ("Waldo 32 XR", "Waldo panel")


PRIVATE_NAMES: dict[str, Elements] = {
    "of VR PN": {0x00290010: ("LO", b"QUILL"), 0x00291001: ("PN", b"Quillfeather^Zenobia")},
    "of a known element": {0x00130010: ("LO", b"SIEMENS CM VA0  CMS"), 0x00131020: ("UN", b"Quillfeather^Zenobia")},
    "written as a name": {0x00290010: ("LO", b"QUILL"), 0x00291001: ("LO", b"Quillfeather^Zenobia ")},
    "of unknown VR": {0x00290010: ("LO", b"QUILL"), 0x00291001: ("UN", b"Quillfeather^Zenobia^^^")},
    "within a sequence": {
        corpus.OUTER: ("SQ", [{0x00290010: ("LO", b"QUILL"), 0x00291001: ("SH", b"Quillfeather^Z")}])
    },
}


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("where", PRIVATE_NAMES)
def test_a_name_that_stands_only_in_a_private_element_is_found(where: str, syntax: str) -> None:
    elements: Elements = {STUDY_DESCRIPTION: ("LO", b"MR of Quillfeather"), SEQUENCE_NAME: ("SH", b"quillfeather")}
    data = corpus.file({**corpus.image(), **elements, **PRIVATE_NAMES[where]}, syntax)
    assert b"uillfeather" not in anonymised(data, keep=WORDS_KEPT)


def test_a_private_protocol_is_not_a_name() -> None:
    elements: Elements = {
        0x00290010: ("LO", b"QUILL"),
        0x00291001: ("LO", b"HEAD^Advanced"),
        STUDY_DESCRIPTION: ("LO", b"Advanced brain"),
    }
    assert published(elements).StudyDescription == "Advanced brain"


DIGITS = {ID: ("LO", b"1234567")}
NUMBERS: dict[str, tuple[int, bytes]] = {
    "ImagePositionPatient": (0x00200032, b"-123.4567\\123.4567\\12.34567"),
    "ImageOrientationPatient": (0x00200037, b"1\\0\\0\\0\\1\\0"),
    "SliceThickness": (0x00180050, b"1.234567"),
    "InstanceNumber": (0x00200013, b"234567"),
    "Rows": (0x00280010, struct.pack("<H", 8)),
    "PixelAspectRatio": (0x00280034, b"123456\\1"),
    "DiffusionBValue": (0x00189087, struct.pack("<d", 1234567.0)),
    "RecommendedDisplayFrameRateInFloat": (0x00089459, struct.pack("<f", 1.0)),
    "SmallestImagePixelValue": (0x00280106, struct.pack("<h", 12)),
    "LossyImageCompression": (0x00282110, b"00"),
}


@pytest.mark.parametrize("keyword", NUMBERS)
def test_a_value_of_unknown_vr_is_what_the_dictionary_says(keyword: str) -> None:
    tag, value = NUMBERS[keyword]
    out = anonymised(corpus.file({**corpus.image(), **DIGITS, tag: ("UN", value)}))
    assert value in out
    assert keyword in pydicom.dcmread(io.BytesIO(out))


SERIES_NUMBER, ACQUISITION_NUMBER, SLICE_THICKNESS = 0x00200011, 0x00200012, 0x00180050
NO_NUMBERS = [
    b"1.2.826.0.1.3680043.77777.4",
    b"+49 30 1234567",
    b"(030) 123456",
    b"2026-01-02",
    b"02.01.2026",
    b"1941/02/03",
    b"12 34 56",
    b"1e5e5",
    b"7\\1-2",
    b"#1,#2",
    b"-",
    b".",
]


@pytest.mark.parametrize("vr", ["DS", "IS", "UN"])
@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_not_a_number_where_one_should_be_goes(value: bytes, vr: str) -> None:
    found = published({SLICE_THICKNESS: (vr, value), ACQUISITION_NUMBER: (vr, value)})
    assert found.SliceThickness is None
    assert found.AcquisitionNumber is None


REAL_NUMBERS = [
    b"",
    b" 12 ",
    b"-0.5\\ +1.25E-05\\.5\\5.",
    b"\\1\\",
    b"1,5",
    b"12\0",
    b"0.0000000000000000012345",
    b"nan",
    b"-inf",
    b"1.#QNAN",
    b"-1.#IND00",
]


@pytest.mark.parametrize("value", REAL_NUMBERS)
def test_a_number_stays_as_programs_write_it(value: bytes) -> None:
    data = corpus.file({**corpus.image(), SLICE_THICKNESS: ("DS", value)})
    element = corpus.Builder(corpus.EXPLICIT_LITTLE).element(SLICE_THICKNESS, "DS", value)
    assert element in anonymised(data)


@pytest.mark.parametrize("value", [b"19410203", b"03021941", b"+19410203.0"])
def test_a_day_of_the_file_goes_from_numbers(value: bytes) -> None:
    data = corpus.file(
        {**corpus.image(), 0x00100030: ("DA", b"19410203"), SLICE_THICKNESS: ("DS", b"1.5\\" + value)}
        | {ACQUISITION_NUMBER: ("IS", value)}
    )
    found = deidentifier(keep=frozenset({Keep.FULL_DATES})).file(memoryview(data))
    assert isinstance(found, Deidentified)
    assert value not in found.bytes(memoryview(data))
    assert found.emptied == {"SliceThickness": 1, "AcquisitionNumber": 1}
    assert "19410203" not in repr(found)


@pytest.mark.parametrize("patient", ["7654321", "MRN-007654321", "MRN 765.4321"])
@pytest.mark.parametrize("vr", ["IS", "UN"])
@pytest.mark.parametrize("tag", [SERIES_NUMBER, ACQUISITION_NUMBER, 0x00200013], ids=hex)
def test_a_whole_number_that_is_the_patients_or_an_orders_goes(tag: int, vr: str, patient: str) -> None:
    for identifier in (ID, 0x00080050):
        found = published({identifier: ("LO", patient.encode()), tag: (vr, b"007654321")})
        assert found[tag].value is None


def test_other_whole_numbers_and_fractions_stay_beside_an_identifier() -> None:
    elements: Elements = {
        ID: ("LO", b"7654321"),
        SERIES_NUMBER: ("IS", b"765432"),
        ACQUISITION_NUMBER: ("IS", b"17654321"),
        SLICE_THICKNESS: ("DS", b"7654321"),
    }
    found = published(elements)
    assert (found.SeriesNumber, found.AcquisitionNumber, found.SliceThickness) == (765432, 17654321, 7654321)


BINARY_NUMBERS: dict[int, tuple[str, bytes]] = {
    0x00189089: ("FD", struct.pack("<3d", 0.25, -1.5, 1234567.0)),
    0x00280106: ("US", struct.pack("<H", 12)),
    0x00281101: ("US", struct.pack("<3H", 256, 0, 16)),
    0x00280009: ("AT", struct.pack("<4H", 0x0018, 0x1063, 0x0018, 0x1065)),
    0x00186020: ("SL", struct.pack("<l", -5)),
    0x00720064: ("IS", b"1\\2 "),
}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big endian"])
def test_binary_numbers_stay_as_they_are(syntax: str) -> None:
    builder = corpus.Builder(corpus.SYNTAXES[syntax][1])
    image = corpus.image(corpus.SYNTAXES[syntax][1])
    out = anonymised(corpus.file({**image, **DIGITS, **BINARY_NUMBERS}, syntax))
    for tag, (vr, value) in BINARY_NUMBERS.items():
        assert builder.element(tag, vr, value) in out


def test_an_age_in_the_place_of_another_value_stays() -> None:
    element = corpus.Builder(corpus.EXPLICIT_LITTLE).element(0x00189073, "AS", b"012M")
    assert element in anonymised(corpus.file({**corpus.image(), 0x00189073: ("AS", b"012M")}))


def test_dates_and_uids_and_sequences_of_unknown_vr_are_what_they_are() -> None:
    implicit = corpus.IMPLICIT_LITTLE
    inside = implicit.item(corpus.Builder(implicit).element(0x00200032, "DS", b"1234567\\2\\3 "))
    elements: Elements = {
        0x00080020: ("UN", b"20200102"),
        0x00200052: ("UN", f"{corpus.UID_FAMILY}.9\0".encode()),
        0x00209113: ("UN", inside),
        **DIGITS,
    }
    found = published(elements, frozenset({Keep.MODIFIED_DATES}))
    assert found.StudyDate < "20200102"
    assert found.FrameOfReferenceUID.startswith("2.25.")
    assert found.PlanePositionSequence[0].ImagePositionPatient == [1234567, 2, 3]


@pytest.mark.parametrize("vr", ["UN", "LO"])
def test_letters_where_the_dictionary_has_a_number_go(vr: str) -> None:
    elements: Elements = {NAME: ("PN", b"Smithfield^Johanna"), 0x00180050: (vr, b"smithfield")}
    elements |= {0x00189087: ("UN", b"Smithfield^Johan"), 0x00280106: ("UN", b"smithfield")}
    out = anonymised(corpus.file({**corpus.image(), **elements}))
    assert b"mithfield" not in out


def test_what_was_emptied_is_counted_by_attribute_and_without_values() -> None:
    elements: Elements = {
        NAME: ("PN", b"Smithfield^Johanna"),
        STUDY_DESCRIPTION: ("LO", b"for Johanna"),
        SEQUENCE_NAME: ("SH", b"smithfield"),
        0x0008103E: ("LO", b"axial"),
        0x00290010: ("LO", b"SAFE"),
        0x00291001: ("LO", b"Johanna"),
        corpus.OUTER: ("SQ", [{0x00080104: ("LO", b"Johanna")}, {0x00080104: ("LO", b"Johanna")}]),
    }
    data = corpus.file({**corpus.image(), **elements})
    safe = (PrivateElement("SAFE", 0x0029, 0x01),)
    found = deidentifier(keep=WORDS_KEPT, safe_private=safe).file(memoryview(data))
    assert isinstance(found, Deidentified)
    assert found.emptied == {"StudyDescription": 1, "SequenceName": 1, "CodeMeaning": 2}
    assert sum(found.private_removed.values()) == 1
    assert "ohanna" not in repr(found)


# "Enter text" in a file of ENTER TEXT; a plan called by its patient's identifier.
FOUND_IN_REAL_FILES = {
    "reportsi.dcm": {"TextValue": 2},
    "reportsi_with_empty_number_tags.dcm": {"TextValue": 2},
    "rtstruct.dcm": {"StructureSetLabel": 1, "StructureSetName": 1},
}


def test_of_real_files_only_what_repeats_their_patient_is_taken() -> None:
    de = deidentifier(keep=WORDS_KEPT, burned_in="allow", structured="clean")
    emptied = {}
    for name in TAKEN:
        found = de.file(memoryview(real.path(name).read_bytes()))
        assert isinstance(found, Deidentified)
        if found.emptied:
            emptied[name] = found.emptied
    assert emptied == FOUND_IN_REAL_FILES


@pytest.mark.parametrize("piece", [b"0", b"0 ", b"1.", b"tel 1 ", b"a@", b"smithfiel "])
def test_a_text_made_to_be_slow_is_read_in_time(piece: bytes) -> None:
    # What grows with the square of the length would take minutes.
    elements: Elements = {
        NAME: ("PN", b"Smithfield^Johanna"),
        ID: ("LO", b"MRN-0007123456"),
        0x00321066: ("UT", piece * 200_000),
    }
    published(elements)


LONG_TEXT = 0x00321066
PIECE = 64 * 1024


@pytest.mark.parametrize("before", [0, PIECE - 9, PIECE - 1, PIECE, PIECE + 5, 3 * PIECE - 12 * 1024, 4 * PIECE])
@pytest.mark.parametrize("filler", ["x", "lesion ", "é "])
def test_a_name_is_found_wherever_it_is_in_a_long_text(before: int, filler: str) -> None:
    words = (filler * before)[:before] + " Johanna Smithfield " + filler * (2 * PIECE)
    elements: Elements = {0x00080005: ("CS", b"ISO_IR 192"), NAME: ("PN", b"Smithfield^Johanna")}
    assert "ReasonForVisit" not in published({**elements, LONG_TEXT: ("UT", words.encode())})


@pytest.mark.parametrize("filler", ["Hannah ", "12345678 "])
def test_a_long_text_is_not_cut_within_a_word_or_number(filler: str) -> None:
    words = filler * (PIECE // 2)
    elements: Elements = {NAME: ("PN", b"Ann^Han"), ID: ("LO", b"1234"), LONG_TEXT: ("UT", words.encode())}
    assert published(elements).ReasonForVisit == words.strip()


def test_a_long_text_takes_little_more_memory_than_it_has_bytes() -> None:
    words = b"liver lesion 12 mm in 34 " * 40_000
    data = memoryview(corpus.file({**corpus.image(), NAME: ("PN", b"Smithfield^Johanna"), LONG_TEXT: ("UT", words)}))
    de = deidentifier(keep=WORDS_KEPT)
    tracemalloc.start()
    try:
        de.file(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * len(words)
