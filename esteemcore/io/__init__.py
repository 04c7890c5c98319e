"""Files: data sets, the container that survives a crash, readers of other programs' files, sources for the drivers."""

from esteemcore.io.credits import Author, Credits
from esteemcore.io.dataset import Axis, Dataset, ScanRecord, SeriesRecord, Signal
from esteemcore.io.edit import set_credits
from esteemcore.io.event_frames import load_frames
from esteemcore.io.exports import Exported, export
from esteemcore.io.info import Info, SignalInfo, info
from esteemcore.io.lazy import to_dask
from esteemcore.io.load import load
from esteemcore.io.pack import pack
from esteemcore.io.read_container import verify
from esteemcore.io.recorder import SeriesRecorder, SeriesStatus
from esteemcore.io.save import save
from esteemcore.io.series import SeriesSignal, SeriesWriter
from esteemcore.io.sources import FrameSource, source
from esteemcore.io.stored_events import StoredEvents
from esteemcore.io.writer import Writer

__all__ = [
    "Author",
    "Axis",
    "Credits",
    "Dataset",
    "Exported",
    "FrameSource",
    "Info",
    "ScanRecord",
    "SeriesRecord",
    "SeriesRecorder",
    "SeriesSignal",
    "SeriesStatus",
    "SeriesWriter",
    "Signal",
    "SignalInfo",
    "StoredEvents",
    "Writer",
    "export",
    "info",
    "load",
    "load_frames",
    "pack",
    "save",
    "set_credits",
    "source",
    "to_dask",
    "verify",
]
