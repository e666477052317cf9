"""Writes Siemens CSA headers, both formats, with what a scanner leaves between the values."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

# Name: VR and items.
Tags = Mapping[str, tuple[str, Sequence[str | bytes]]]

SYNGO_TYPES = {"IS": 6, "DS": 3, "FD": 4, "US": 10, "UL": 9, "SL": 7, "CS": 16, "LO": 19, "SH": 22, "UN": 0, "UI": 25}
ITEMS = 6


def header(tags: Tags, *, is_new: bool = True, garbage: bytes = b"") -> bytes:
    """Write a header; `garbage` is what lay in memory where names are written, behind them."""
    start = b"SV10\x04\x03\x02\x01" if is_new else b""
    content = start + struct.pack("<2I", len(tags), 77)
    for name, (vr, items) in tags.items():
        content += _tag(name, vr, [_bytes(one) for one in items], is_new, garbage)
    return content + bytes(4)


def _bytes(item: str | bytes) -> bytes:
    return item if isinstance(item, bytes) else item.encode("latin-1") + b"\0"


def _tag(name: str, vr: str, items: list[bytes], is_new: bool, garbage: bytes) -> bytes:
    field = (name.encode() + b"\0" + garbage)[:64].ljust(64, b"\0")
    # The older format subtracts the first tag's number of items, so each has as many.
    count = max(ITEMS, len(items)) if is_new else ITEMS
    multiplicity, kind = len(items), SYNGO_TYPES.get(vr, 20)
    content = field + struct.pack("<i4s3i", multiplicity, vr.encode(), kind, count, 77 if items else 205)
    for one in items + [b""] * (count - len(items)):
        first = len(one) if is_new else len(one) + ITEMS
        content += struct.pack("<4i", first, len(one), 77 if one else 205, len(one)) + one + bytes(-len(one) % 4)
    return content


PROTOCOL = """<XProtocol>
{
  <Name> "PhoenixMetaProtocol"
  <ParamMap."">
  {
    <ParamString."PatientID">  { "%(patient)s"  }
    <ParamString."tPatientsName">  { "%(name)s"  }
    <ParamString."DeviceSerialNumber">  { "%(serial)s"  }
    <ParamLong."SliceCount">  { 48  }
    <ParamString."Note">  { "done on %(day)s for %(name)s"  }
    <ParamDouble."flNumber">  { <Precision> 6  3.141593  }
  }
}
### ASCCONV BEGIN ###
tSequenceFileName                        = ""%%SiemensSeq%%\\ep2d_diff""
tProtocolName                            = ""DTI""
tReferenceImage0                         = ""%(uid)s""
sPatPosition.lCount                      = 48
sPat.lAccelFactPE                        = 2
sPat.ucPATMode                           = 0x2
sKSpace.lBaseResolution                  = 64
sKSpace.lPhaseEncodingLines              = 64
lContrasts                               = 1
alTR[0]                                  = 6600000
### ASCCONV END ###
"""


def protocol(**values: str) -> str:
    """Write the text of MrPhoenixProtocol."""
    return PROTOCOL % values
