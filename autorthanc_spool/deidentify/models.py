"""The two networks that find and read text: PP-OCRv6 (small), as rapidocr's wheel brings them, run by onnxruntime.

Nothing is fetched: a model whose digest isn't the one that was measured counts as missing. Each runs in one thread,
as there is a process for each core. The one that finds keeps its memory from run to run, as its pictures are of a few
sizes at most and a fresh one costs a fifth of its time; the one that reads gives it back, as lines are of any length.
"""

from __future__ import annotations

import hashlib
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from autorthanc_spool.core.errors import DetectorMissing

_FINDS_TEXT = "PP-OCRv6_det_small.onnx"
_READS_TEXT = "PP-OCRv6_rec_small.onnx"
_DIGESTS = {
    _FINDS_TEXT: "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    _READS_TEXT: "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
_NEEDED = ("cv2", "numpy", "onnxruntime", "rapidocr")

# The scripts that the reader was trained with and reads well, as Unicode names their letters; signs that belong to no
# script are called MODIFIER.
SCRIPTS = ("LATIN", "CJK", "HIRAGANA", "KATAKANA", "MODIFIER")

# The first class of the reader is "none of them"; after those that it names comes the space.
_NOTHING = ""


def check() -> None:
    """Raise DetectorMissing when something isn't installed that detection needs; nothing is loaded for it."""
    # A process that leaves packages out (see `codecs`) still has them installed.
    absent = [name for name in _NEEDED if PathFinder.find_spec(name) is None]
    if not absent:
        absent = [name for name in _DIGESTS if not (_folder() / name).is_file()]
    if absent:
        raise DetectorMissing(
            f'"Detect" needs the extra "pixels" (pip install "autorthanc-spool[pixels]"): '
            f"{', '.join(absent)} can't be found, so nothing of the rule leaves"
        )


class Network:
    """A network of one input and one output."""

    def __init__(self, name: str, *, keeps_memory: bool) -> None:
        """Load it. Raises DetectorMissing."""
        import onnxruntime

        path = _folder() / name
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != _DIGESTS[name]:
            raise DetectorMissing(f"rapidocr's {name} is not the model that was measured; install the extra again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = keeps_memory
        # 3: errors. It warns of its own optimisations.
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: Any) -> Any:
        """Give what it makes of a batch: samples, colours, rows, columns."""
        return self._session.run(None, {self._input: batch})[0]

    def named(self, key: str) -> str:
        """Give a text that the model carries."""
        return str(self._session.get_modelmeta().custom_metadata_map[key])


def finder() -> Network:
    """Load the network that finds text. Raises DetectorMissing."""
    return Network(_FINDS_TEXT, keeps_memory=True)


def reader() -> tuple[Network, list[str]]:
    """Load the network that reads a line, and the characters that its classes are. Raises DetectorMissing."""
    network = Network(_READS_TEXT, keeps_memory=False)
    return network, [_NOTHING, *network.named("character").splitlines(), " "]


def _folder() -> Path:
    found = PathFinder.find_spec("rapidocr")
    if found is None or found.origin is None:
        raise DetectorMissing("rapidocr is not installed")
    return Path(found.origin).parent / "models"
