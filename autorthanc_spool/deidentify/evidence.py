"""The table of what gives a page away: a dose report, a scanner's protocol, a copy of a screen, a scanned document.

Scanners and workstations store such pages under the SOP classes of their images, with the patient's name in the pixels
and mostly without BurnedInAnnotation. Each row says what the image then perhaps is, and where that is known from.
Published filters are taken for the facts in them: CTP's BurnedInPixelsFilter and DicomPixelAnonymizer, deid's
deid.dicom, Stanford's filter for CTP (susom/mirc-ctp), PixelMed's recognition of dose screens.
No table finds every page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autorthanc_spool.deidentify.clues import Clue, Filled, Is, Measures, Not, Says, tag_of
from autorthanc_spool.deidentify.facts import Facts


@dataclass(frozen=True)
class Row:
    """What an image perhaps is, where that is known from, and the clues to it, which must all be found.

    `even_if_no`: BurnedInAnnotation NO isn't believed.
    """

    shows: str
    source: str
    clues: tuple[Clue, ...]
    even_if_no: bool = False

    def reason(self, facts: Facts) -> str | None:
        """Say what the image perhaps is and what shows it; None when a clue is missing."""
        findings = []
        for clue in self.clues:
            finding = clue.found(facts)
            if finding is None:
                return None
            findings.append(finding)
        return f"perhaps {self.shows}: {', '.join(findings)}"


# Free text that says what an image is. Comments are longer, so that only what can't be meant otherwise counts there.
_TITLES = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolName")
_TEXTS = (*_TITLES, "ImageComments", "DerivationDescription", "AcquisitionProtocolDescription")
_STUDY = ("StudyDescription",)

_IMAGE_TYPE = ("ImageType",)

_DOSE_PHRASES = (
    *("DOSE REPORT", "DOSE INFO", "DOSE INFORMATION", "DOSE RECORD", "DOSE SUMMARY", "DOSE SHEET", "DOSE PAGE"),
    *("DOSE TABLE", "DOSE SCREEN", "DOSE SR", "DOSE CARD", "REPORT DOSE"),
)
_DOSE_DATA = ("DOSE DATA",)
# Data that were acquired with such a dose.
_DATA_OF_A_DOSE = tuple(
    f"{which} DOSE DATA"
    for which in ("LOW", "LOWER", "ULTRALOW", "REDUCED", "HALF", "NORMAL", "STANDARD", "FULL", "HIGH")
)
_PROTOCOL_PHRASES = (
    *("PATIENT PROT", "PATIENT PROTOCOL", "EXAM PROTOCOL", "EXAMINATION PROTOCOL", "PROTOCOL PAGE"),
    *("PROTOCOL SUMMARY", "PROTOCOL SCREEN"),
)
_SUMMARY_PHRASES = (
    *("EXAM SUMMARY", "EXAMINATION SUMMARY", "SCAN SUMMARY", "STUDY SUMMARY", "SERIES SUMMARY", "PATIENT SUMMARY"),
    *("SUMMARY PAGE", "SUMMARY SERIES", "SUMMARY SHEET", "SUMMARY TABLE", "SUMMARY REPORT"),
)
_SCREEN_PHRASES = (
    *("SCREEN SAVE", "SCREEN SAVED", "SAVED SCREEN", "SAVE SCREEN", "SCREEN SHOT", "SCREEN CAPTURE", "SCREEN CAPTURED"),
    *("CAPTURED SCREEN", "SCREEN CAP", "SCREEN DUMP", "SCREEN GRAB", "SCREEN COPY", "PRINT SCREEN"),
    *("SECONDARY CAPTURE", "SECONDARY SCREEN"),
)
_DOCUMENT_PHRASES = (
    *("SCANNED DOCUMENT", "SCANNED DOC", "DOCUMENT SCAN", "NOMINATION FORM", "REQUEST FORM", "ORDER FORM"),
    *("CONSENT FORM", "REQUISITION", "QUESTIONNAIRE", "WORKSHEET"),
)
_TRANSLATED_DOSE = (
    *("DOSISBERICHT", "DOSISPROTOKOLL", "DOSISREPORT", "DOSISINFO*", "RAPPORT DE DOSE", "RAPPORT DOSE"),
    *("INFORME DE DOSIS", "INFORME DOSIS", "RAPPORTO DI DOSE", "RAPPORTO DOSE", "RELATORIO DE DOSE", "DOSISRAPPORT"),
    *("DOSERAPPORT", "DOSRAPPORT", "RAPORT DAWKI", "ОТЧЕТ О ДОЗЕ", "*線量レポート*", "*線量情報*", "*剂量报告*"),
    *("*剂量信息*", "*劑量報告*", "*선량 보고서*"),
)
_TRANSLATED_PROTOCOL = (
    *("PATIENTENPROTOKOLL", "PATIENTPROTOKOLL", "UNTERSUCHUNGSPROTOKOLL", "PROTOCOLE PATIENT", "PROTOCOLE DU PATIENT"),
    *("PROTOCOLO PACIENTE", "PROTOCOLO DEL PACIENTE", "PROTOCOLO DO PACIENTE", "PROTOCOLLO PAZIENTE"),
    *(
        "PROTOCOLLO DEL PAZIENTE",
        "PROTOKOL PACJENTA",
        "ПРОТОКОЛ ПАЦИЕНТА",
        "*患者プロトコル*",
        "*患者协议*",
        "*病人协议*",
    ),
)
_TRANSLATED_SCREEN = (
    *("BILDSCHIRMFOTO", "BILDSCHIRMKOPIE", "BILDSCHIRMAUFNAHME", "CAPTURE D ECRAN", "CAPTURE ECRAN"),
    *("CAPTURA DE PANTALLA", "SCHERMATA", "CAPTURA DE TELA", "SCHERMAFBEELDING", "SCHERMOPNAME", "SKARMBILD"),
    *("СНИМОК ЭКРАНА", "*画面保存*", "*屏幕截图*", "*截屏*", "*화면 캡처*"),
)
_TRANSLATION = "the row's words in the languages of consoles; our translation, from no document"

# PS3.4 section B.5. A class of one modality is its images' alone; in PS3.3 its pixels are grey.
_CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
_MR = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
_PET = ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.128.1", "1.2.840.10008.5.1.4.1.1.130")
_NM = ("1.2.840.10008.5.1.4.1.1.20",)
_CR = ("1.2.840.10008.5.1.4.1.1.1",)
_DX = tuple(f"1.2.840.10008.5.1.4.1.1.1.{end}" for end in ("1", "1.1", "2", "2.1", "3", "3.1"))
_ANGIOGRAPHY = tuple(
    f"1.2.840.10008.5.1.4.1.1.{end}"
    for end in ("12.1", "12.1.1", "12.2", "12.2.1", "12.3", "13.1.1", "13.1.2", "13.1.3")
)
_RT_IMAGE = ("1.2.840.10008.5.1.4.1.1.481.1",)
_SLICES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128")
_ONE_MODALITY = _CT + _MR + _PET + _NM + _CR + _DX + _ANGIOGRAPHY + _RT_IMAGE
_GREY = _ONE_MODALITY

_POSITION = ("ImagePositionPatient", "ImagePosition", "SliceLocation")
_NO_POSITION = Not(Filled(_POSITION), "no position of a slice")
_SECONDARY = Is("ImageType", ("SECONDARY",))
_NOT_PROJECTION = Not(Is("SOPClassUID", _CR + _DX), "not a radiograph")

# PS3.3 section C.8.6.1, and those of hardcopies, which PS3.3 has retired.
_CAPTURE_DEVICE = (
    *("SecondaryCaptureDeviceID", "SecondaryCaptureDeviceManufacturer", "SecondaryCaptureDeviceManufacturerModelName"),
    *("SecondaryCaptureDeviceSoftwareVersions", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
    *("HardcopyCreationDeviceID", "HardcopyDeviceManufacturer", "HardcopyDeviceSoftwareVersion"),
    *("HardcopyDeviceManufacturerModelName", "VideoImageFormatAcquired", "DigitalImageFormatAcquired"),
)

_TYPES = (
    Row(
        "a scanner's protocol page",
        "PixelMed and Stanford: Siemens CT writes DERIVED\\SECONDARY\\OTHER\\CT_SOM5 PROT",
        (Says(_IMAGE_TYPE, ("PROT", "PROTOCOL")),),
        even_if_no=True,
    ),
    Row(
        "a dose report",
        "CTP, deid: dose pages of several vendors",
        (Says(_IMAGE_TYPE, (*_DOSE_PHRASES, *_DOSE_DATA)),),
        even_if_no=True,
    ),
    Row(
        "a dose report",
        "CTP: Philips CT with DOSE in ImageType, such as DOSE_INFO; Stanford: NeuroLogica ORIGINAL\\PRIMARY\\DOSE",
        (Says(_IMAGE_TYPE, ("DOSE",)), Is("Modality", ("CT", "OT", "XA", "RF", "MG", "DX", "CR"))),
        even_if_no=True,
    ),
    Row(
        "a report",
        "deid: REPORTDATA and DEMOGRAPHICDATA are never let out; Siemens writes CSA REPORT",
        (Says(_IMAGE_TYPE, ("REPORT*", "DEMOGRAPHIC*", "SUMMARY")),),
        even_if_no=True,
    ),
    Row(
        "a copy of a screen",
        "CTP: SAVE in ImageType; deid, Stanford and PixelMed: SCREEN SAVE of GE, SCREEN of others",
        (Says(_IMAGE_TYPE, ("*SAVE*", "*SCREENSHOT*", "*SCREENSAVE*", "*SCREENCAP*", "SCREEN", *_SCREEN_PHRASES)),),
    ),
    Row(
        "a saved view of a workstation",
        "deid: ImageType VXTL STATE of GE's Advantage Windows",
        (Says(_IMAGE_TYPE, ("VXTL STATE",)),),
    ),
    Row(
        "a chart",
        "CSA BLACK IMAGE is a black canvas on which Siemens draws charts, with and without an overlay",
        (Says(_IMAGE_TYPE, ("CSA BLACK IMAGE",)),),
    ),
    Row(
        "a view of the positions of slices",
        "POSDISP of Siemens MR is a view as the console draws it",
        (Says(_IMAGE_TYPE, ("POSDISP",)),),
    ),
    Row(
        "a copy of a screen",
        "Stanford: ImageType MRSC in MR",
        (Says(_IMAGE_TYPE, ("MRSC",)), Is("Modality", ("MR",))),
    ),
    Row("a copy of a screen", "deid, Stanford: ImageType INVALID of Philips", (Is("ImageType", ("INVALID",)),)),
)

_TEXT = (
    Row(
        "a dose report",
        'CTP and deid: SeriesDescription "Dose Report"; Philips "Dose Info", Canon and others "Radiation Dose …"',
        (Says(_TEXTS, _DOSE_PHRASES),),
        even_if_no=True,
    ),
    Row(
        "a dose report",
        "the same page's name on other consoles, and not what PET calls slices of low dose (AC low dose data)",
        (Says(_TEXTS, _DOSE_DATA), Not(Says(_TEXTS, _DATA_OF_A_DOSE), "not slices of a dose")),
        even_if_no=True,
    ),
    Row("a dose report", _TRANSLATION, (Says(_TEXTS, _TRANSLATED_DOSE),), even_if_no=True),
    Row(
        "a scanner's protocol page",
        'deid and PixelMed: SeriesDescription "Patient Protocol" of Siemens CT',
        (Says(_TEXTS, _PROTOCOL_PHRASES),),
        even_if_no=True,
    ),
    Row("a scanner's protocol page", _TRANSLATION, (Says(_TEXTS, _TRANSLATED_PROTOCOL),), even_if_no=True),
    Row(
        "a summary of an exam",
        "PixelMed: dose screens of Toshiba by SUMMARY in SeriesDescription; other vendors' names of the same page",
        (Says(_TITLES, _SUMMARY_PHRASES),),
        even_if_no=True,
    ),
    Row(
        "a summary of an exam",
        "PixelMed: any SUMMARY in SeriesDescription of Toshiba",
        (Says(("SeriesDescription",), ("SUMMARY",)), Says(("Manufacturer",), ("TOSHIBA*", "CANON*"))),
        even_if_no=True,
    ),
    Row(
        "a page",
        "the words above where nothing else is said",
        (
            Says(
                _TITLES,
                ("SUMMARY", "PROTOCOL", "PROT", "DOSE", "CT DOSE", "RADIATION DOSE", "PATIENT DOSE", "SNAPSHOT"),
                whole=True,
            ),
        ),
        even_if_no=True,
    ),
    Row(
        "a report",
        'CTP: SeriesDescription "AVA Report" of GE and "Report" of Vital Images',
        (Says(_TITLES, ("REPORT", "*ZIPREPORT")),),
        even_if_no=True,
    ),
    Row(
        "a copy of a screen",
        'CTP: SAVE in SeriesDescription; GE "Screen Save"',
        (Says(_TEXTS, _SCREEN_PHRASES),),
    ),
    Row("a copy of a screen", _TRANSLATION, (Says(_TEXTS, _TRANSLATED_SCREEN),)),
    Row("a copy of a screen", "CTP: SAVE in SeriesDescription", (Says(_TITLES, ("SAVE", "SAVED")),)),
    Row(
        "a film of a workstation",
        'CTP: SeriesDescription "AW electronic film" of GE',
        (Says(_TITLES, ("AW ELECTRONIC FILM", "ELECTRONIC FILM")),),
    ),
    Row(
        "a worksheet of a workstation",
        'CTP: SeriesDescription "AAA" of Vital Images, with the name in its upper left',
        (Says(("SeriesDescription",), ("AAA",)), Says(("Manufacturer",), ("VITAL IMAGES", "VITREA"))),
    ),
    Row(
        "a chart",
        'deid: "Enhancement" of Siemens CT with the name above the curve; Siemens names its charts MeanCurve',
        (Says(_TEXTS, ("ENHANCEMENT CURVE", "MEAN CURVE", "TIME DENSITY CURVE", "TIME INTENSITY CURVE")),),
    ),
    Row("an injector's page", 'CTP: SeriesDescription "MEDRAD"', (Says(_TITLES, ("MEDRAD", "INJECTION PROFILE")),)),
    Row(
        "a document",
        'deid: SeriesDescription "PACS nomination form"; what else is scanned into a study',
        (Says(_TITLES, _DOCUMENT_PHRASES),),
    ),
    Row(
        "a page",
        "a study's description is that of all its images, so it counts only where it is nothing else",
        (
            Says(
                _STUDY,
                (
                    *_DOSE_PHRASES,
                    *_DOSE_DATA,
                    *_PROTOCOL_PHRASES,
                    *_SUMMARY_PHRASES,
                    *_SCREEN_PHRASES,
                    *_DOCUMENT_PHRASES,
                ),
                whole=True,
            ),
        ),
    ),
    Row(
        "a dose report",
        "CTP: DLP in CommentsOnRadiationDose of GE",
        (Says(("CommentsOnRadiationDose",), ("DLP",)), Says(("Manufacturer",), ("GE MEDICAL*",))),
        even_if_no=True,
    ),
)

_ORIGIN = (
    Row(
        "a copy of a screen or a scanned document",
        "PS3.3 section C.8.6.1: workstation, scanned document or image, digitised film, drawing",
        (Is("ConversionType", ("WSD", "SD", "SI", "DF", "DRW")),),
    ),
    Row(
        "captured video",
        "PS3.3 section C.8.6.1: digitised video. Real CT slices that a toolkit wrote have it too, with their positions",
        (Is("ConversionType", ("DV",)), _NO_POSITION),
    ),
    Row(
        "captured by an interface, or drawn",
        "PS3.3 section C.8.6.1, and Stanford: any ConversionType, except in radiographs",
        (Filled(("ConversionType",)), _NO_POSITION, _NOT_PROJECTION),
    ),
    Row(
        "a copy of a screen",
        "PS3.3 section C.8.6.1, and CTP: equipment that captures; Stanford: what Siemens resampled is clean",
        (Filled(_CAPTURE_DEVICE), Not(Says(("DerivationDescription",), ("MEDCOM RESAMPLED",)), "not resampled slices")),
    ),
    Row(
        "a document",
        "PS3.3 section C.7.3.1.1.1: modalities that make no images; Stanford excludes the same",
        (Is("Modality", ("DOC", "SR", "KO", "PR", "AU", "PLAN", "REG", "REPORT", "REQUEST", "SC", "SD")),),
    ),
    Row(
        "a document or a copy of a screen",
        "deid: Modality OT is a scanned document. PS3.3 annex A has another modality for each of these classes",
        (Is("Modality", ("OT",)), Is("SOPClassUID", _ONE_MODALITY)),
    ),
    Row(
        "a copy of a screen",
        "PS3.3 annex A: these classes are grey; colour maps of diffusion are real, and have positions",
        (
            Is("SOPClassUID", _GREY),
            Measures("SamplesPerPixel", at_least=2),
            Not(Is("ImageType", ("DIFFUSION",)), "not a map of diffusion"),
        ),
    ),
    Row(
        "a copy of a screen",
        "PS3.3 annex A: PALETTE COLOR is for nuclear medicine alone",
        (
            Is("SOPClassUID", tuple(one for one in _GREY if one not in _NM)),
            Is("PhotometricInterpretation", ("PALETTE COLOR",)),
        ),
    ),
    Row(
        "a copy of a screen",
        "PS3.3 section C.7.6.2: slices must have a position. PRIMARY without one is real data too, such as tensors",
        (Is("SOPClassUID", _SLICES), _SECONDARY, _NO_POSITION),
    ),
    Row(
        "a result of a workstation",
        "Stanford takes no XA and RF for what stations write into them; SECONDARY is not what the detector saw",
        (Is("SOPClassUID", _ANGIOGRAPHY[:5]), _SECONDARY),
    ),
)

_DEVICES = (
    Row(
        "a dose report",
        "PixelMed: series 999 and 10999 of GE CT",
        (
            Measures("SeriesNumber", (997, 998, 999, 10997, 10998, 10999)),
            Is("Modality", ("CT",)),
            Says(("Manufacturer",), ("GE MEDICAL*", "GE HEALTHCARE")),
            Not(Is("ImageType", ("ORIGINAL",)), "not ORIGINAL"),
        ),
        even_if_no=True,
    ),
    Row(
        "a dose report",
        "CTP and PixelMed: SECONDARY with a window 1 wide of Toshiba CT",
        (
            Measures("WindowWidth", (1,)),
            _SECONDARY,
            Is("Modality", ("CT",)),
            Says(("Manufacturer",), ("TOSHIBA*", "CANON*")),
        ),
        even_if_no=True,
    ),
    Row(
        "a page",
        "CTP: pages of Siemens CT and nuclear medicine have 860, 865 or 882 rows",
        (
            Measures("Rows", (860, 865, 882)),
            _SECONDARY,
            Is("Modality", ("CT", "NM", "PT")),
            Says(("Manufacturer",), ("SIEMENS*",)),
        ),
        even_if_no=True,
    ),
    Row(
        "a copy of a screen",
        "CTP: 832 rows and 1024 columns of ADAC",
        (Measures("Rows", (832,)), Measures("Columns", (1024,)), Says(("Manufacturer",), ("ADAC*",))),
    ),
    *(
        Row(
            "a copy of a screen",
            f"deid: Philips GEMINI PET of {rows} rows and {columns} columns",
            (
                Measures("Rows", (rows,)),
                Measures("Columns", (columns,)),
                Is("Modality", ("PT",)),
                Says(("Manufacturer",), ("PHILIPS*",)),
            ),
        )
        for rows, columns in ((446, 245), (445, 493), (373, 492))
    ),
    Row(
        "a radiograph with the name on it",
        "CTP: Canon CXDI with 2592 rows has bars of text above and below",
        (
            Measures("Rows", (2592,)),
            Says(("ManufacturerModelName",), ("CXDI*",)),
            Says(("Manufacturer",), ("CANON*",)),
        ),
    ),
    Row(
        "a radiograph with the name on it",
        "Stanford blackens text in images of these makers' detectors",
        (Says(("ManufacturerModelName",), ("KRYSTALRAD 660", "CLOUDDR", "ALTODR")),),
    ),
    Row(
        "digitised film or captured video",
        'Stanford: digitisers of Vidar and iCAD, and the frame grabber "the DiCOM box"',
        (
            Says(
                ("Manufacturer", "ManufacturerModelName"),
                ("VIDAR", "VIDAR SYSTEMS", "THE DICOM BOX", "TOTALLOOK*", "LUMISYS*", "LUMISCAN*", "HOWTEK*"),
            ),
        ),
    ),
    Row(
        "a scanned document",
        "Stanford: INFINITT's archive stores documents as ORIGINAL, with series numbers of four digits",
        (Measures("SeriesNumber", at_least=1000), Says(("Manufacturer",), ("INFINITT*",)), _NO_POSITION),
    ),
)

TABLE = (*_TYPES, *_TEXT, *_ORIGIN, *_DEVICES)
_EVEN_IF_NO = tuple(row for row in TABLE if row.even_if_no)

# Pixels that are not a picture, whose words say what the numbers mean: a dose grid is called "Dose", a segmentation
# comes with a "Report". The class alone doesn't make a file one: it must also say what PS3.3 requires of one (sections
# C.8.8.3 and C.8.20.1).
_MAPS = (
    (Is("SOPClassUID", ("1.2.840.10008.5.1.4.1.1.481.2",)), Filled(("DoseGridScaling",))),
    (
        Is("SOPClassUID", ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")),
        Is("Modality", ("SEG",)),
    ),
)
_OF_WORDS = frozenset(_TEXT)

# What the rows look at; of positions, which differ from slice to slice, only whether they are there.
_POSITION_TAGS = frozenset(tag_of(keyword) for keyword in _POSITION)
_TAGS = tuple(
    {
        tag_of(keyword)
        for clues in (*(row.clues for row in TABLE), *_MAPS)
        for clue in clues
        for keyword in clue.asked_of()
    }
    - _POSITION_TAGS
)

_Seen = tuple[object, ...]
_MOST_SEEN = 1024


class Suspicions:
    """Says why images are perhaps pages, once for all images of a series that look the same to the table."""

    def __init__(self) -> None:
        self._reasons: dict[_Seen, str | None] = {}

    def of(self, facts: Facts, says_no: bool) -> str | None:
        """Say why an image is perhaps a page; None for what isn't suspected, and for what has no picture."""
        if not facts.has_picture:
            return None
        seen = _seen(facts, says_no)
        if seen not in self._reasons:
            if len(self._reasons) >= _MOST_SEEN:
                self._reasons.clear()
            self._reasons[seen] = next((reason for row in _rows(facts, says_no) if (reason := row.reason(facts))), None)
        return self._reasons[seen]


def _rows(facts: Facts, says_no: bool) -> Iterator[Row]:
    is_map = any(all(clue.found(facts) for clue in clues) for clues in _MAPS)
    for row in _EVEN_IF_NO if says_no else TABLE:
        if not (is_map and row in _OF_WORDS):
            yield row


def _seen(facts: Facts, says_no: bool) -> _Seen:
    """All that the rows look at in a file, and that decides how it is read."""
    values = tuple((tag, facts.value(tag)) for tag in _TAGS if facts.element(tag) is not None)
    return says_no, facts.encoding, facts.character_sets, any(map(facts.has_text, _POSITION_TAGS)), values
