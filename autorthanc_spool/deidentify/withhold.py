"""What can't be cleaned is not published: images that may show a name, documents, reports, spoken words."""

from __future__ import annotations

from enum import StrEnum

from autorthanc_spool.deidentify.evidence import Suspicions
from autorthanc_spool.deidentify.facts import SOP_CLASS, Facts
from autorthanc_spool.rules.model import AnonymiseOptions


class Withheld(StrEnum):
    """Why a file is withheld for what it is; the values are words for the record."""

    BURNED_IN = "BurnedInAnnotation is YES"
    ULTRASOUND = "an ultrasound image without BurnedInAnnotation NO"
    SECONDARY_CAPTURE = "a secondary capture without BurnedInAnnotation NO"
    PHOTOGRAPH = "a photograph or video without BurnedInAnnotation NO"
    OVERLAY = "graphics in unused bits of the pixel data"
    DOCUMENT = "an encapsulated document"
    STRUCTURED = "a structured report"
    VOICE = "spoken words"


_MODALITY = 0x00080060
_BURNED_IN_ANNOTATION = 0x00280301
_CONTENT_SEQUENCE = 0x0040A730
_ENCAPSULATED_DOCUMENT = 0x00420011

# PS3.4 annex B.5 and PS3.6 annex A: SOP classes, those that end with a point are whole families.
_ULTRASOUND = ("1.2.840.10008.5.1.4.1.1.3", "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6")
_ULTRASOUND_FAMILY = "1.2.840.10008.5.1.4.1.1.6."
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Retired: films of other images, with what was printed on them.
_HARDCOPY = ("1.2.840.10008.5.1.1.29", "1.2.840.10008.5.1.1.30")
_VISIBLE_LIGHT_FAMILY = "1.2.840.10008.5.1.4.1.1.77."
_DOCUMENT_FAMILY = "1.2.840.10008.5.1.4.1.1.104."
_STRUCTURED_FAMILY = "1.2.840.10008.5.1.4.1.1.88."
_VOICE_FAMILY = "1.2.840.10008.5.1.4.1.1.9.4."

_ULTRASOUND_MODALITIES = frozenset({"US", "IVUS"})
_PHOTOGRAPH_MODALITIES = frozenset(
    {"XC", "ES", "GM", "SM", "OP", "DMS"}
    # Retired ones: microscopes, and scopes for the eye, the bladder, the vagina, the belly and vessels.
    | {"DM", "FS", "CS", "CP", "LP", "AS"}
)
_HARDCOPY_MODALITY = "HC"

_SUSPICIONS = Suspicions()


def reason_to_withhold(facts: Facts, options: AnonymiseOptions) -> Withheld | None:
    """Say why a file can't be published, whatever its pixels show, or None."""
    sop_class = facts.text(SOP_CLASS)
    if sop_class.startswith(_DOCUMENT_FAMILY) or facts.element(_ENCAPSULATED_DOCUMENT):
        return Withheld.DOCUMENT
    if sop_class.startswith(_VOICE_FAMILY):
        return Withheld.VOICE
    is_structured = sop_class.startswith(_STRUCTURED_FAMILY) or facts.element(_CONTENT_SEQUENCE) is not None
    if is_structured and options.structured == "withhold":
        return Withheld.STRUCTURED
    return None


def may_show_a_name(facts: Facts) -> str | None:
    """Say why the pixels of a file may show a name, or None: a `Withheld`, or what makes it look like a page."""
    if not facts.has_picture:
        return None
    sop_class = facts.text(SOP_CLASS)
    annotated = set(facts.words(_BURNED_IN_ANNOTATION))
    # First: regions and files may say where text is burned in, but nothing is known of these.
    if _has_overlay_in_pixels(facts):
        return Withheld.OVERLAY
    if "YES" in annotated:
        return Withheld.BURNED_IN
    says_no = annotated == {"NO"}
    often = None if says_no else _is_often_annotated(facts, sop_class)
    return often or _SUSPICIONS.of(facts, says_no)


def is_ultrasound(facts: Facts) -> bool:
    """Whether a file is an image as an ultrasound device makes it, and not a page or a copy of its screen."""
    sop_class = facts.text(SOP_CLASS)
    is_of_device = sop_class in _ULTRASOUND or sop_class.startswith(_ULTRASOUND_FAMILY)
    return is_of_device and _SUSPICIONS.of(facts, says_no=False) is None


def _is_often_annotated(facts: Facts, sop_class: str) -> Withheld | None:
    modality = facts.text(_MODALITY).upper()
    if sop_class in _ULTRASOUND or sop_class.startswith(_ULTRASOUND_FAMILY) or modality in _ULTRASOUND_MODALITIES:
        return Withheld.ULTRASOUND
    is_capture = sop_class == _SECONDARY_CAPTURE or sop_class.startswith(_SECONDARY_CAPTURE + ".")
    is_film = sop_class in _HARDCOPY or modality == _HARDCOPY_MODALITY
    if is_capture or is_film:
        return Withheld.SECONDARY_CAPTURE
    if sop_class.startswith(_VISIBLE_LIGHT_FAMILY) or modality in _PHOTOGRAPH_MODALITIES:
        return Withheld.PHOTOGRAPH
    return None


def _has_overlay_in_pixels(facts: Facts) -> bool:
    """Whether an overlay lies in bits of the pixel data: OverlayRows without OverlayData (PS3.5 section 8.1.2)."""
    return any(
        facts.element(group << 16 | 0x0010) is not None and facts.element(group << 16 | 0x3000) is None
        for group in range(0x6000, 0x6020, 2)
    )
