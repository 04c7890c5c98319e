"""Electrons and X-rays as events: packed one-bit frames, event tables and sparse spectrum images."""

from esteemcore.events.bits import pack_bits, unpack_bits
from esteemcore.events.sparse_si import SparseSI
from esteemcore.events.table import EventTable, events_from_frames, events_from_packed

__all__ = ["EventTable", "SparseSI", "events_from_frames", "events_from_packed", "pack_bits", "unpack_bits"]
