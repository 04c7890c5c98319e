"""Multi-frame experiments: plan the dose, acquire frame by frame to disk, see when it is enough."""

from esteemcore.multiframe.acquire import AcquiredFrame, FrameRequest, SeriesResult, acquire_series
from esteemcore.multiframe.after import MailSettings, run_script, send_mail
from esteemcore.multiframe.compensation import DriftCompensation, expected_drift
from esteemcore.multiframe.counted import CountedSpectra
from esteemcore.multiframe.energies import EnergySettings
from esteemcore.multiframe.follow import LiveFollower
from esteemcore.multiframe.frame_values import VISIT_ORDER, UnsavedFrame, sum_subpixels
from esteemcore.multiframe.learnt_times import LearntTimes
from esteemcore.multiframe.live_series import LiveSeries
from esteemcore.multiframe.live_signals import LiveSignals
from esteemcore.multiframe.live_state import ComponentCount, FormingComponents, LiveState
from esteemcore.multiframe.maps import ElementMap, MeasuredMap, measure_maps
from esteemcore.multiframe.merge import MergedAreas, merge_areas
from esteemcore.multiframe.merged import save_merged
from esteemcore.multiframe.orders import ORDERS, FrameOrder, frame_order
from esteemcore.multiframe.plan import SeriesFigures, SeriesPlan, spent
from esteemcore.multiframe.process import process_series
from esteemcore.multiframe.processed import ProcessedSeries, processed_signals, save_processed
from esteemcore.multiframe.region import Region, fit_region, virgin_areas
from esteemcore.multiframe.session_folder import RegionFolder, SessionFolder
from esteemcore.multiframe.settings import SeriesSettings
from esteemcore.multiframe.signal_maps import maps_by_signal
from esteemcore.multiframe.stop_conditions import StopConditions
from esteemcore.multiframe.typed_maps import maps_from_words
from esteemcore.multiframe.words import figures_in_words, spent_in_words, xrays_in_words
from esteemcore.multiframe.xray_counts import (
    XrayLine,
    XrayPrediction,
    column_snr,
    counts_needed,
    lines_from_words,
    predict_xrays,
)

__all__ = [
    "ORDERS",
    "VISIT_ORDER",
    "AcquiredFrame",
    "ComponentCount",
    "CountedSpectra",
    "DriftCompensation",
    "ElementMap",
    "EnergySettings",
    "FormingComponents",
    "FrameOrder",
    "FrameRequest",
    "LearntTimes",
    "LiveFollower",
    "LiveSeries",
    "LiveSignals",
    "LiveState",
    "MailSettings",
    "MeasuredMap",
    "MergedAreas",
    "ProcessedSeries",
    "Region",
    "RegionFolder",
    "SeriesFigures",
    "SeriesPlan",
    "SeriesResult",
    "SeriesSettings",
    "SessionFolder",
    "StopConditions",
    "UnsavedFrame",
    "XrayLine",
    "XrayPrediction",
    "acquire_series",
    "column_snr",
    "counts_needed",
    "expected_drift",
    "figures_in_words",
    "fit_region",
    "frame_order",
    "lines_from_words",
    "maps_by_signal",
    "maps_from_words",
    "measure_maps",
    "merge_areas",
    "predict_xrays",
    "process_series",
    "processed_signals",
    "run_script",
    "save_merged",
    "save_processed",
    "send_mail",
    "spent",
    "spent_in_words",
    "sum_subpixels",
    "virgin_areas",
    "xrays_in_words",
]
