"""Sequences for which Table E.1-1 leaves a choice: the one is taken that keeps the file valid."""

import io
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from autorthanc_spool.deidentify.file import Deidentified
from autorthanc_spool.deidentify.pseudonym import Pseudonymiser
from autorthanc_spool.rules import Keep
from tests.deidentify import real
from tests.deidentify.make import KEY, anonymised, deidentifier
from tests.helpers import datasets

STUDY_CLASS, STEP_CLASS = "1.2.840.10008.3.1.2.3.1", "1.2.840.10008.3.1.2.3.3"
CT, KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.59"


def item(**keywords: Any) -> Dataset:
    made = Dataset()
    for keyword, value in keywords.items():
        setattr(made, keyword, value)
    return made


def reference(sop_class: str, *uid: object, **more: Any) -> Dataset:
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=datasets.uid(*uid), **more)


def code() -> Dataset:
    return item(CodeValue="CNRY", CodingSchemeDesignator="99X", CodeMeaning="CNRY")


def with_sequences() -> bytes:
    """A CT image with sequences of each kind that the table has a choice for, valid in each."""
    return datasets.make_instance(
        ReferencedStudySequence=[reference(STUDY_CLASS, "study")],
        ReferencedPerformedProcedureStepSequence=[reference(STEP_CLASS, "step")],
        ReferencedImageSequence=[reference(CT, "image")],
        SourceImageSequence=[reference(CT, "source")],
        RequestAttributesSequence=[
            item(
                ScheduledProcedureStepID="1",
                RequestedProcedureID="2",
                ReferencedStudySequence=[reference(STUDY_CLASS, "requested")],
            )
        ],
        InstitutionCodeSequence=[code()],
        OperatorIdentificationSequence=[
            item(PersonIdentificationCodeSequence=[code()], InstitutionCodeSequence=[code()])
        ],
        AcquisitionContextSequence=[item(ValueType="TEXT", ConceptNameCodeSequence=[code()], TextValue="CNRY")],
        Laterality="",
        PatientPosition="HFS",
    )


@pytest.mark.parametrize(
    "keep", [(), (Keep.DESCRIPTORS,), (Keep.UIDS,), (Keep.INSTITUTION, Keep.DESCRIPTORS)], ids=lambda one: str(one)
)
def test_every_choice_keeps_an_image_valid(keep: tuple[Keep, ...], tmp_path: Path) -> None:
    before = with_sequences()
    after = anonymised(before, keep=frozenset(keep))
    assert real.errors_of(after, tmp_path) - real.errors_of(before, tmp_path) == set()


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def test_a_referenced_study_goes_where_it_may_not_be_empty() -> None:
    found = read(anonymised(with_sequences(), keep=frozenset({Keep.DESCRIPTORS})))
    assert "ReferencedStudySequence" not in found
    assert "ReferencedStudySequence" not in found.RequestAttributesSequence[0]
    assert len(found.AcquisitionContextSequence) == 0


def test_in_the_request_of_a_report_it_is_left_empty() -> None:
    request = item(
        StudyInstanceUID=datasets.uid("study"),
        ReferencedStudySequence=[reference(STUDY_CLASS, "study")],
        AccessionNumber="",
    )
    no_image = dict.fromkeys(("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"))
    keywords = {"SOPClassUID": KEY_OBJECT, "Modality": "KO", "ReferencedRequestSequence": [request]}
    data = datasets.make_instance(**keywords, **no_image)
    found = read(anonymised(data, structured="clean")).ReferencedRequestSequence[0]
    assert "ReferencedStudySequence" in found
    assert len(found.ReferencedStudySequence) == 0


def test_kept_uids_keep_the_references() -> None:
    found = read(anonymised(with_sequences(), keep=frozenset({Keep.UIDS})))
    (study,) = found.ReferencedStudySequence
    assert study.ReferencedSOPInstanceUID == datasets.uid("study")


def test_a_performed_step_is_a_reference_and_nothing_else() -> None:
    steps = [
        reference(STEP_CLASS, "step", InstanceNumber="77", CodeMeaning="CNRY", DerivationDescription="CNRY"),
        item(ReferencedSOPClassUID=STEP_CLASS),
        item(ReferencedSOPClassUID=STEP_CLASS, ReferencedSOPInstanceUID=""),
    ]
    for keep in (frozenset[Keep](), frozenset({Keep.DESCRIPTORS})):
        found = read(anonymised(datasets.make_instance(ReferencedPerformedProcedureStepSequence=steps), keep=keep))
        (step,) = found.ReferencedPerformedProcedureStepSequence
        assert [element.keyword for element in step] == ["ReferencedSOPClassUID", "ReferencedSOPInstanceUID"]
        assert step.ReferencedSOPClassUID == STEP_CLASS
        assert step.ReferencedSOPInstanceUID == Pseudonymiser(KEY, "P").uid(datasets.uid("step"))


def test_one_that_was_empty_stays_empty() -> None:
    data = datasets.make_instance(SOPClassUID=KEY_OBJECT, ReferencedPerformedProcedureStepSequence=[])
    found = read(anonymised(data, structured="clean"))
    assert len(found.ReferencedPerformedProcedureStepSequence) == 0


@pytest.mark.parametrize("names", [("LAYER1", "LAYER2"), ("SMITHFIELD", "LAYER2"), ()])
def test_a_dummy_annotation_is_on_a_layer_that_the_file_defines(names: tuple[str, ...]) -> None:
    layers = [item(GraphicLayer=name, GraphicLayerOrder=str(n)) for n, name in enumerate(names, 1)]
    words = item(UnformattedTextValue="CNRY", AnchorPoint=[1.0, 1.0], AnchorPointVisibility="N")
    annotation = item(GraphicLayer=names[1] if names else "LAYER3", TextObjectSequence=[words])
    no_image = dict.fromkeys(("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"))
    data = datasets.make_instance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1",
        Modality="PR",
        PatientName="Smithfield^Johanna",
        GraphicAnnotationSequence=[annotation],
        **({"GraphicLayerSequence": layers} if layers else {}),
        **no_image,
    )
    made = deidentifier().file(memoryview(data))
    assert isinstance(made, Deidentified)
    found = read(made.bytes(memoryview(data)))
    (dummy,) = found.GraphicAnnotationSequence
    defined = [one.GraphicLayer for one in found.get("GraphicLayerSequence", [])]
    assert dummy.GraphicLayer == (defined[0] if names else "ANONYMISED")
    assert made.emptied.get("GraphicLayer", 0) == ("SMITHFIELD" in names)
