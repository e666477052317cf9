"""Attributes whose values come from a list of the standard, DICOM 2025b."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# PS3.3 section C.7.3.1.1.1, Defined Terms, with what PS3.16 CID 33 has.
_LISTED = """
    ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS
    KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE
    RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA
    XAPROTOCOL XC
"""

# The same section, retired terms: old files have them.
_RETIRED = "AS CD CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST VF"

MODALITIES = tuple(sorted(f"{_LISTED} {_RETIRED}".split()))

# What people write instead.
MEANT_MODALITIES: Mapping[str, str] = MappingProxyType(
    {
        "mri": "MR", "nmr": "MR", "mrt": "MR", "fmri": "MR", "irm": "MR",
        "cat": "CT", "cbct": "CT", "tac": "CT", "tdm": "CT",
        "pet": "PT", "petct": "PT", "pet/ct": "PT", "pet-ct": "PT", "petmr": "PT",
        "spect": "NM", "nuc": "NM", "scinti": "NM",
        "xray": "DX", "x-ray": "DX", "x ray": "DX", "xr": "DX", "cxr": "DX",
        "mammo": "MG", "mammography": "MG", "ultrasound": "US", "sono": "US", "echo": "US",
        "angio": "XA", "dsa": "XA", "fluoro": "RF", "rt": "RTPLAN", "report": "SR",
    }
)  # fmt: skip

MODALITY, MODALITIES_IN_STUDY = "0008,0060", "0008,0061"

# By tag: the values that a valid file may have, and where PS3.3 says so.
VALUES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        MODALITY: MODALITIES,
        "0008,0068": ("FOR PRESENTATION", "FOR PROCESSING"),  # PresentationIntentType, C.8.11.1
        "0010,0040": ("M", "F", "O"),  # PatientSex, C.7.1.1
        "0010,2203": ("ALTERED", "UNALTERED"),  # PatientSexNeutered, C.7.2.3
        "0012,0062": ("YES", "NO"),  # PatientIdentityRemoved, C.7.1.1
        "0020,0060": ("R", "L"),  # Laterality, C.7.3.1
        "0020,0062": ("R", "L", "U", "B"),  # ImageLaterality, C.8.11.3
        "0028,0300": ("YES", "NO", "BOTH"),  # QualityControlImage, C.7.6.1
        "0028,0301": ("YES", "NO"),  # BurnedInAnnotation, C.7.6.1
        "0028,2110": ("00", "01"),  # LossyImageCompression, C.7.6.1
    }
)

# What is asked for in a query, and is neither in a file nor known here (PS3.4 sections C.3.4 and C.4.1).
IN_NO_FILE = frozenset(
    {
        "0008,0052",  # QueryRetrieveLevel
        "0008,0053",  # QueryRetrieveView
        "0008,0054",  # RetrieveAETitle
        "0008,0056",  # InstanceAvailability
        "0020,1200",  # NumberOfPatientRelatedStudies
        "0020,1202",  # NumberOfPatientRelatedSeries
        "0020,1204",  # NumberOfPatientRelatedInstances
    }
)

# In these names of pulse sequences, vendors begin with an asterisk (SequenceName, PulseSequenceName).
WITH_ASTERISK = frozenset({"0018,0024", "0018,9005"})

# Attributes of the patient and of the study: those of the modules Patient, Clinical Trial Subject, General Study,
# Patient Study and Clinical Trial Study (PS3.3 sections C.7.1 and C.7.2), what Orthanc keeps with a study, and what is
# computed of a whole study. All others are the series'.
_OF_STUDY = """
    PatientName PatientID IssuerOfPatientID TypeOfPatientID PatientBirthDate PatientBirthTime PatientSex
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar
    OtherPatientIDs OtherPatientNames EthnicGroup PatientComments PatientSpeciesDescription
    PatientBreedDescription BreedRegistrationNumber ResponsiblePerson ResponsiblePersonRole
    ResponsibleOrganization PatientIdentityRemoved DeidentificationMethod QualityControlSubject
    StrainDescription ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription StudyInstanceUID StudyDate StudyTime StudyID
    StudyDescription AccessionNumber ReferringPhysicianName ConsultingPhysicianName PhysiciansOfRecord
    NameOfPhysiciansReadingStudy RequestingService RequestingPhysician RequestedProcedureDescription
    InstitutionName AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight PatientBodyMassIndex
    MeasuredAPDimension MeasuredLateralDimension Occupation AdditionalPatientHistory AdmissionID
    ServiceEpisodeID ServiceEpisodeDescription PatientSexNeutered MedicalAlerts Allergies SmokingStatus
    PregnancyStatus LastMenstrualDate PatientState ReasonForVisit ModalitiesInStudy SOPClassesInStudy
    NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
"""
STUDY_KEYWORDS = frozenset(_OF_STUDY.split())

# Attributes that differ from one image of a series to the next (PS3.3 sections C.7.6.1, C.7.6.2 and C.12.1).
_OF_IMAGE = """
    SOPInstanceUID SOPClassUID InstanceNumber InstanceCreationDate InstanceCreationTime ContentDate ContentTime
    AcquisitionNumber ImagePositionPatient ImagePosition SliceLocation ImageComments ImageID ImageIndex
    TemporalPositionIdentifier TemporalPositionIndex TriggerTime FrameReferenceTime WindowCenter WindowWidth
    NumberOfFrames
"""
IMAGE_KEYWORDS = frozenset(_OF_IMAGE.split())

# Attributes that all images of a series have in common (PS3.3 sections C.7.3.1 and C.7.5.1).
_OF_WHOLE_SERIES = """
    Modality SeriesInstanceUID SeriesNumber SeriesDescription SeriesDate SeriesTime ProtocolName BodyPartExamined
    PerformedProcedureStepDescription OperatorsName Manufacturer ManufacturerModelName StationName DeviceSerialNumber
    SoftwareVersions
"""
WHOLE_SERIES_KEYWORDS = frozenset(_OF_WHOLE_SERIES.split())

# What Orthanc lists of every series, or computes: no file has to be asked for it.
LISTED_KEYWORDS = frozenset(
    {
        "Modality", "SeriesInstanceUID", "ModalitiesInStudy", "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances",
    }
)  # fmt: skip
