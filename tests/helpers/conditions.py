"""What the tests of conditions on real Orthanc have in common."""

import json
from typing import Any

from tests.helpers import datasets, dicom_net
from tests.helpers.orthanc_server import OrthancServer
from tests.helpers.proxy import Proxy
from tests.helpers.site import Site

DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


PIXELS = (
    "PixelData", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation",
)  # fmt: skip


def dose_report(**keywords: Any) -> bytes:
    words = {"SOPClassUID": DOSE_REPORT, "Modality": "SR", "StudyDescription": "Dose report"}
    return datasets.make_instance(series=9, **{**words, **dict.fromkeys(PIXELS), **keywords})


def tag(name: str, value: str) -> dict[str, str]:
    return {"TagName": name, "Value": value}


def arrived(orthanc: OrthancServer, files: list[bytes], by: str = "REST") -> str:
    """Have files arrive in this order; give the ID of their study, stable."""
    if by == "C-STORE":
        for data in files:
            dicom_net.store(orthanc.dicom_port, [data])
    else:
        orthanc.upload_all(files)
    (study,) = orthanc.get("/studies")
    orthanc.wait_stable(f"/studies/{study}")
    return str(study)


def publishing(site: Site, resource_id: str, level: str = "study") -> list[str]:
    """The names of the rules that published something."""
    site.touch(resource_id, level)
    site.once()
    return sorted(path.name for path in site.output.iterdir() if path.is_dir() and list(path.iterdir()))


def explained(site: Site, level: str, resource_id: str) -> dict[str, Any]:
    lines = site.run("explain", level, resource_id, "--json").stdout.splitlines()
    return {one["rule"]: one for one in map(json.loads, lines)}


def requests(site: Site, orthanc: OrthancServer, resource_id: str, level: str = "study") -> list[str]:
    """What is asked of Orthanc to judge a resource, without the IDs."""
    with Proxy(orthanc.http_port) as proxy:
        site.variables["ORTHANC_URL"] = proxy.url
        site.run("explain", level, resource_id)
        del site.variables["ORTHANC_URL"]
        return [line.split()[1].replace(resource_id, "ID") for line in proxy.requests]
