"""Registration of series: where every sample really was, drift and motion live, sums and motifs on the common grid."""

from esteemcore.register.accumulate import accumulate
from esteemcore.register.accumulate_result import Accumulated
from esteemcore.register.accumulate_running import Accumulator
from esteemcore.register.align_series import align
from esteemcore.register.alignment import Alignment
from esteemcore.register.diagnostics import Diagnosis, diagnose
from esteemcore.register.live import LiveAlignment, Placement
from esteemcore.register.motif import MotifPlaces, find_motif
from esteemcore.register.motif_average import MotifAverage, average_motif
from esteemcore.register.motif_box import BoxAverage, average_box
from esteemcore.register.tracker import DriftTracker

__all__ = [
    "Accumulated",
    "Accumulator",
    "Alignment",
    "BoxAverage",
    "Diagnosis",
    "DriftTracker",
    "LiveAlignment",
    "MotifAverage",
    "MotifPlaces",
    "Placement",
    "accumulate",
    "align",
    "average_box",
    "average_motif",
    "diagnose",
    "find_motif",
]
