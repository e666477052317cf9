"""The walk through a data set: element by element, at every level, what the policy decides.

What stays is copied as it is in the buffer, header and all; neighbours that stay are copied in one piece, and a
sequence in which nothing changed is such a neighbour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from autorthanc_spool.deidentify import concepts, dummies, text
from autorthanc_spool.deidentify.character_sets import corrected, fits, names_of
from autorthanc_spool.deidentify.concepts import About
from autorthanc_spool.deidentify.elements import (
    ITEM,
    ITEM_END,
    NO_VR,
    SEQUENCE_END,
    UNDEFINED,
    DataSet,
    Element,
    Encoding,
)
from autorthanc_spool.deidentify.opaque import Opaque
from autorthanc_spool.deidentify.output import Output
from autorthanc_spool.deidentify.policy import (
    CHARACTER_SET,
    PATIENT_ID,
    REFERENCED_STUDY,
    REMOVE,
    Decision,
    Policy,
    Verdict,
)
from autorthanc_spool.deidentify.private import is_creator, is_private, safe_elements, vr_of_private
from autorthanc_spool.deidentify.reader import Reader, known_vr
from autorthanc_spool.deidentify.values import Values, is_a_number
from autorthanc_spool.rules.model import PrivateElement

_UNDEFINED_LENGTH = b"\xff\xff\xff\xff"
_NOT_RESERVED = b"\0\0"

# WaveformSequence has WaveformData.
_WAVEFORM = (0x54000100, 0x54001010)
# PixelData in all its forms with the offset tables, WaveformData.
_DATA_OF_IMAGES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0x54001010})
# What is written in a data set's character set (PS3.5 section 6.1.2.3).
_TEXTS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})


# ReferencedRequestSequence of a report: its item has a ReferencedStudySequence, of type 2 (PS3.3 table C.17-2).
_REFERENCED_REQUEST = 0x0040A370

# What an item that refers to an object is made of (PS3.3 table 10-11): ReferencedSOPClassUID, ReferencedSOPInstanceUID.
_REFERENCE = ((0x00081150, Verdict.KIND), (0x00081155, Verdict.NEW_UID))

# GraphicLayerSequence, GraphicLayer
_GRAPHIC_LAYERS, _GRAPHIC_LAYER = 0x00700060, 0x00700002


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the walk is: how elements and text are written here, whose they are, and what else is looked at.

    `parent` is the tag of the sequence around, 0 at the top; `about` is what a content item says of its patient.
    """

    encoding: Encoding
    character_sets: text.CharacterSets
    pseudonym: str
    cleaning: bool = False
    parent: int = 0
    about: About | None = None


class Walk:
    """De-identifies the data set of one file."""

    def __init__(
        self, reader: Reader, policy: Policy, safe: Iterable[PrivateElement], values: Values, opaque: Opaque
    ) -> None:
        self._reader = reader
        self._buffer = reader.buffer
        self._policy = policy
        self._safe = frozenset(safe)
        self._values = values
        self._opaque = opaque
        self._layer = dummies.WORD

    def data_set(self, data_set: DataSet, instead: Mapping[int, bytes | Output]) -> Output:
        """Write the top level, in which whole elements, by tag, replace what the file has, or beside it."""
        scope = Scope(data_set.encoding, text.DEFAULT, self._values.pseudonym)
        self._layer = self._first_layer(data_set, self._scope_of(data_set, scope))
        return self._level(data_set, scope, sorted(instead.items(), reverse=True))

    def _level(self, data_set: DataSet, scope: Scope, waiting: list[tuple[int, bytes | Output]]) -> Output:
        scope = self._scope_of(data_set, scope)
        safe = safe_elements(_readable(data_set), self._buffer, self._safe) if self._safe else {}
        if scope.about is About.AGE and self._policy.keeps_characteristics:
            waiting = self._capped_age(data_set, scope)
        replaced = {tag for tag, _ in waiting}
        out = Output()
        for element in data_set.elements:
            while waiting and waiting[-1][0] <= element.tag:
                _add(out, waiting.pop()[1])
            if element.tag in replaced:
                continue
            if element.tag == CHARACTER_SET:
                self._character_set(element, data_set, scope.encoding, out)
            elif element.vr == NO_VR:
                continue
            elif not is_private(element.tag):
                self._element(element, self._decide(element, scope), scope, out)
            elif element.tag in safe:
                self._private(element, safe[element.tag], scope, out)
        for _, whole in reversed(waiting):
            _add(out, whole)
        return out

    def _scope_of(self, data_set: DataSet, scope: Scope) -> Scope:
        """Look at what an item says about itself: its character sets, and its patient."""
        if data_set.encoding is not scope.encoding:
            scope = replace(scope, encoding=data_set.encoding)
        for element in data_set.elements:
            if element.tag > PATIENT_ID:
                break
            if element.tag == CHARACTER_SET:
                named = text.character_sets(bytes(self._buffer[element.value : element.end]))
                scope = replace(scope, character_sets=named)
            elif element.tag == PATIENT_ID and element.items is None:
                pseudonym = self._values.pseudonym_in(data_set, element, scope.character_sets, scope.pseudonym)
                scope = replace(scope, pseudonym=pseudonym)
        if scope.parent and data_set.get(concepts.CONCEPT_NAME) is not None:
            scope = replace(scope, about=concepts.about(self._buffer, data_set))
        return scope

    def _capped_age(self, data_set: DataSet, scope: Scope) -> list[tuple[int, bytes | Output]]:
        """Write the number of an item that says an age; where it is said once more, that goes."""
        waiting: list[tuple[int, bytes | Output]] = [
            (tag, b"") for tag in concepts.OTHER_NUMBERS if data_set.get(tag) is not None
        ]
        capped = concepts.capped_age(self._buffer, data_set)
        if capped is not None:
            waiting.append((concepts.NUMERIC_VALUE, scope.encoding.element(concepts.NUMERIC_VALUE, "DS", capped)))
        return waiting[::-1]

    def _decide(self, element: Element, scope: Scope) -> Decision:
        is_at_home = not scope.parent or (scope.parent, element.tag) == _WAVEFORM
        if not is_at_home and element.tag in _DATA_OF_IMAGES:
            # Pictures of other pictures: what is known of the image doesn't hold for them.
            return REMOVE
        vr = element.vr if element.items is None else "SQ"
        if scope.about is not None and (found := self._policy.decide_about(scope.about, element.tag, vr)):
            return found
        if element.tag == REFERENCED_STUDY and scope.parent == _REFERENCED_REQUEST:
            decision = self._policy.decide(element.tag, vr)
            return Decision(Verdict.EMPTY) if decision == REMOVE and vr == "SQ" else decision
        return (self._policy.decide_cleaning if scope.cleaning else self._policy.decide)(element.tag, vr)

    def _character_set(self, element: Element, data_set: DataSet, encoding: Encoding, out: Output) -> None:
        """Keep it by its defined term; without one, and where the text can't be in it, it goes."""
        names = names_of(bytes(self._buffer[element.value : element.end])) if element.items is None else []
        terms = corrected(names)
        if not terms or (terms != names and len(terms) == 1 and not fits(terms[0], self._texts(data_set))):
            return
        if terms == names and element.vr == "CS":
            self._keep(element, encoding, out)
        else:
            out.put(encoding.element(CHARACTER_SET, "CS", "\\".join(terms).encode()))

    def _texts(self, data_set: DataSet) -> Iterator[bytes]:
        """The texts of a data set, and of its items that name no character set of their own."""
        for element in data_set.elements:
            if element.items is not None:
                for item in element.items:
                    if item.get(CHARACTER_SET) is None:
                        yield from self._texts(item)
            elif _TEXTS.intersection((element.vr, known_vr(element.tag))):
                yield bytes(self._buffer[element.value : element.end])

    def _private(self, element: Element, creator: str, scope: Scope, out: Output) -> None:
        vr = vr_of_private(element, creator)
        if vr == "SQ" and element.items is None:
            element.items = self._reader.items_of_unknown(element, scope.encoding)
            vr = "UN" if element.items is None else "SQ"
        is_sequence = element.items is not None
        decision = self._policy.decide_private("SQ" if is_sequence else vr)
        if decision.verdict in (Verdict.KEEP, Verdict.TEXT) and not is_creator(element.tag):
            before = bytes(self._buffer[element.value : element.end])
            after = self._opaque.looked_at(element.tag, creator, before)
            if after != before:
                # The length is the same, so the file's VR and header still hold it.
                out.put(scope.encoding.element(element.tag, element.vr, after) if after is not None else b"")
                return
        self._element(element, decision, scope, out, vr)

    def _element(
        self, element: Element, decision: Decision, scope: Scope, out: Output, private_vr: str | None = None
    ) -> None:
        verdict = decision.verdict
        # Most elements are one binary number.
        if verdict is Verdict.KEEP or (
            verdict is Verdict.BINARY_NUMBERS and is_a_number(private_vr or element.vr, element.length)
        ):
            self._keep(element, scope.encoding, out)
        elif verdict in (Verdict.WALK, Verdict.WALK_CLEANING):
            cleaning = scope.cleaning or verdict is Verdict.WALK_CLEANING
            # The value of an item is still about the same, the items below it aren't.
            about = scope.about if element.tag == concepts.MEASURED_VALUE else None
            self._sequence(element, replace(scope, cleaning=cleaning, parent=element.tag, about=about), out)
        elif verdict is Verdict.REFERENCES:
            content = b"".join(self._reference(item, scope) for item in element.items or [])
            out.put(scope.encoding.element(element.tag, "SQ", content))
        elif verdict is not Verdict.REMOVE:
            self._change(element, decision, scope, out, private_vr)

    def _keep(self, element: Element, encoding: Encoding, out: Output) -> None:
        # Two bytes of a long header are reserved (PS3.5 section 7.1.2); nothing may travel in them.
        is_long = encoding.explicit and element.value - element.start == 12
        if is_long and self._buffer[element.start + 6 : element.start + 8] != _NOT_RESERVED:
            length = UNDEFINED if self._is_undefined(element.value) else element.length
            out.put(encoding.header(element.tag, element.vr, length))
            out.keep(element.value, element.end)
        else:
            out.keep(element.start, element.end)

    def _change(self, element: Element, decision: Decision, scope: Scope, out: Output, private_vr: str | None) -> None:
        vr = private_vr or (element.vr if element.vr != "UN" else _single(known_vr(element.tag)))
        made = self._values.make(decision.verdict, element, vr, scope.character_sets, scope.pseudonym)
        if made is None:
            if decision.otherwise is Verdict.REMOVE:
                return
            made = self._values.make(decision.otherwise, element, vr, scope.character_sets, scope.pseudonym)
        if made is Verdict.KEEP:
            self._keep(element, scope.encoding, out)
            return
        if element.items is not None:
            vr = "SQ"
            if decision.verdict is Verdict.DUMMY and element.items:
                made = dummies.sequence(element.tag, scope.encoding, self._layer)
        assert isinstance(made, bytes)
        out.put(scope.encoding.element(element.tag, vr, made))

    def _first_layer(self, data_set: DataSet, scope: Scope) -> bytes:
        """The name that the file's first graphic layer will have, for a dummy annotation on it."""
        layers = data_set.get(_GRAPHIC_LAYERS)
        if layers is None or not layers.items:
            return dummies.WORD
        scope = self._scope_of(layers.items[0], scope)
        element = layers.items[0].get(_GRAPHIC_LAYER)
        if element is None or element.items is not None or element.vr not in ("CS", "UN"):
            return dummies.WORD
        before = bytes(self._buffer[element.value : element.end]).strip(b" \0")
        for verdict in self._policy.decide(element.tag, element.vr):
            made = self._values.peek(verdict, element, "CS", scope.character_sets)
            if made is not None:
                return made if isinstance(made, bytes) else before
        return dummies.WORD

    def _sequence(self, element: Element, scope: Scope, out: Output) -> None:
        items = element.items or []
        walked = [self._level(item, scope, []) for item in items]
        is_same = all(one.is_copy_of(item.start, item.end) for one, item in zip(walked, items, strict=True))
        if is_same:
            self._keep(element, scope.encoding, out)
            return
        content = Output()
        for one, item in zip(walked, items, strict=True):
            self._item(one, item, content)
        # Items of a UN are written little endian whatever the file is; the end must be written as its items are.
        encoding = items[0].encoding
        if self._is_undefined(element.value):
            content.put(encoding.header(SEQUENCE_END, "", 0))
            out.put(scope.encoding.header(element.tag, element.vr, UNDEFINED))
        else:
            out.put(scope.encoding.header(element.tag, element.vr, content.size))
        out.extend(content)

    def _reference(self, item: DataSet, scope: Scope) -> bytes:
        """Write the item of a reference, and nothing else that it holds; nothing where it refers to nothing."""
        content = b""
        for tag, verdict in _REFERENCE:
            element = item.get(tag)
            if element is None or element.items is not None:
                return b""
            made = self._values.make(verdict, element, "UI", scope.character_sets, scope.pseudonym)
            value = made if isinstance(made, bytes) else bytes(self._buffer[element.value : element.end])
            if not value.strip(b" \0"):
                return b""
            content += scope.encoding.element(tag, "UI", value)
        return scope.encoding.item(content)

    def _item(self, walked: Output, item: DataSet, content: Output) -> None:
        is_undefined = self._is_undefined(item.start)
        content.put(item.encoding.header(ITEM, "", UNDEFINED if is_undefined else walked.size))
        content.extend(walked)
        if is_undefined:
            content.put(item.encoding.header(ITEM_END, "", 0))

    def _is_undefined(self, value: int) -> bool:
        return self._buffer[value - 4 : value] == _UNDEFINED_LENGTH


def _add(out: Output, whole: bytes | Output) -> None:
    if isinstance(whole, bytes):
        out.put(whole)
    else:
        out.extend(whole)


def _readable(data_set: DataSet) -> DataSet:
    """A data set without what goes because its VR isn't known."""
    return replace(data_set, elements=[element for element in data_set.elements if element.vr != NO_VR])


def _single(vr: str | None) -> str:
    """A VR to write: where the dictionary has a choice, or nothing, it stays unknown."""
    return vr if vr is not None and len(vr) == 2 else "UN"
