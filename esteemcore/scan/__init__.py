"""Where the beam goes, when, and what it costs: scan patterns, timing, dose and the dose ledger."""

from esteemcore.scan.budget import DoseBudget, LedgerEntry, Override
from esteemcore.scan.curves import hilbert, spiral
from esteemcore.scan.dose_map import DoseMap
from esteemcore.scan.exposure import Exposure, charge_e, current_for_dose, exposed_charge
from esteemcore.scan.ledger import DoseLedger
from esteemcore.scan.ordered import interlaced, raster, serpentine, shuffled
from esteemcore.scan.pattern import ScanPattern, from_order, from_positions
from esteemcore.scan.regridding import regrid
from esteemcore.scan.sparse_patterns import sparse
from esteemcore.scan.timing import time_frames, visit_times

__all__ = [
    "DoseBudget",
    "DoseLedger",
    "DoseMap",
    "Exposure",
    "LedgerEntry",
    "Override",
    "ScanPattern",
    "charge_e",
    "current_for_dose",
    "exposed_charge",
    "from_order",
    "from_positions",
    "hilbert",
    "interlaced",
    "raster",
    "regrid",
    "serpentine",
    "shuffled",
    "sparse",
    "spiral",
    "time_frames",
    "visit_times",
]
