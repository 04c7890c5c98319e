"""Files: data sets, the container that survives a crash, readers of other programs' files, sources for the drivers."""

from esteemcore.io.dataset import Axis, Dataset, ScanRecord, Signal
from esteemcore.io.load import load
from esteemcore.io.read_container import verify
from esteemcore.io.save import save
from esteemcore.io.sources import FrameSource, source
from esteemcore.io.writer import Writer

__all__ = ["Axis", "Dataset", "FrameSource", "ScanRecord", "Signal", "Writer", "load", "save", "source", "verify"]
