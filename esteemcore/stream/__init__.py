"""How data move: what will come, pieces of it in any order, and what is made of them."""

from esteemcore.stream.additive import AdditiveReducer, Sums
from esteemcore.stream.chunk import Chunk, chunks
from esteemcore.stream.dask import run_dask
from esteemcore.stream.libertem import as_udf
from esteemcore.stream.live import LiveRunner, LiveStatus
from esteemcore.stream.protocols import ChunkStore, Reducer, Source, Tracker
from esteemcore.stream.run import run
from esteemcore.stream.spec import Spec

__all__ = [
    "AdditiveReducer",
    "Chunk",
    "ChunkStore",
    "LiveRunner",
    "LiveStatus",
    "Reducer",
    "Source",
    "Spec",
    "Sums",
    "Tracker",
    "as_udf",
    "chunks",
    "run",
    "run_dask",
]
