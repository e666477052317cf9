"""C-STORE, as a scanner does it."""

import io

import pydicom
from pynetdicom import AE
from pynetdicom.presentation import build_context


def store(port: int, files: list[bytes], *, aet: str = "ORTHANC") -> None:
    """Send files in one association to 127.0.0.1; all must be accepted."""
    datasets = [pydicom.dcmread(io.BytesIO(data)) for data in files]
    entity = AE(ae_title="SCANNER")
    wanted = {(data.SOPClassUID, data.file_meta.TransferSyntaxUID) for data in datasets}
    entity.requested_contexts = [build_context(abstract, transfer) for abstract, transfer in sorted(wanted)]
    association = entity.associate("127.0.0.1", port, ae_title=aet)
    assert association.is_established
    try:
        statuses = [association.send_c_store(data).Status for data in datasets]
    finally:
        association.release()
    assert set(statuses) == {0}, statuses
