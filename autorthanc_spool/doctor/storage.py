"""Whether Orthanc takes all that a scanner sends: what it refuses at the door is missing in the study."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from autorthanc_spool.doctor.finding import Finding, ok, warning
from autorthanc_spool.run.tools import Tools

# Siemens' CSA Non-Image Storage stands for all private classes.
PRIVATE_CLASS = "1.3.12.2.1107.5.9.1"
# Explicit VR Little Endian, JPEG 2000 Lossless, and MPEG-4: what is accepted by default differs between versions.
SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.102")
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

_TIMEOUT_S = 10.0
_FIX = (
    'set "UnknownSopClassAccepted": true and "AcceptedTransferSyntaxes": ["1.2.840.10008.1.*"] in the configuration of '
    "Orthanc"
)


def accepted(tools: Tools) -> Iterator[Finding]:
    """Begin an association as a scanner does, with what is refused most often, and end it without sending anything."""
    found = _propose(tools)
    if found is None:
        text = "whether Orthanc takes private storage classes isn't known: its DICOM port can't be reached from here"
        yield warning("DICOM", text, f"make it reachable, or {_FIX}")
    elif refused := sorted({*_proposals()} - found):
        what = "private storage classes" if refused[0][0] == PRIVATE_CLASS else "some transfer syntaxes"
        text = f"Orthanc refuses {what} by C-STORE: such files never arrive, and nobody is told"
        yield warning("DICOM", text, _FIX)
    else:
        yield ok("DICOM", "Orthanc takes private storage classes and compressed images by C-STORE")


def _proposals() -> list[tuple[str, str]]:
    return [(PRIVATE_CLASS, SYNTAXES[0]), *((CT_IMAGE, syntax) for syntax in SYNTAXES)]


def _propose(tools: Tools) -> set[tuple[str, str]] | None:
    """Return which of the proposals are accepted; None when there is no association."""
    # It takes long to import, and only this needs it.
    from pynetdicom import AE
    from pynetdicom.presentation import build_context

    system = tools.orthanc.system()
    host = urlsplit(tools.settings.orthanc_url).hostname or "127.0.0.1"
    entity = AE(ae_title="AUTORTHANC")
    entity.connection_timeout = entity.acse_timeout = entity.network_timeout = _TIMEOUT_S
    # One context for each pair: of several syntaxes in one, only one would be accepted.
    entity.requested_contexts = [build_context(*proposal) for proposal in _proposals()]
    # Within a container, Orthanc says the port there; outside, the settings know the one that is published.
    for port in dict.fromkeys((system.get("DicomPort"), tools.settings.aet_port)):
        if not isinstance(port, int) or not 0 < port < 65536:
            continue
        association = entity.associate(host, port, ae_title=str(system.get("DicomAet", "ORTHANC")))
        if association.is_established:
            contexts = association.accepted_contexts
            association.release()
            return {(str(one.abstract_syntax), str(one.transfer_syntax[0])) for one in contexts}
    return None
