"""The exception tree, the names that users import, and what importing them costs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

import esteemcore
from esteemcore import codec, diffraction, errors, events, lowrank, multiframe, optics, register, spectral, stream

TREE = {
    errors.EsteemError: Exception,
    errors.ParameterError: errors.EsteemError,
    errors.CalibrationError: errors.EsteemError,
    errors.FormatError: errors.EsteemError,
    errors.StreamError: errors.EsteemError,
    errors.ReducerError: errors.StreamError,
    errors.DependencyError: errors.EsteemError,
    errors.CancelledError: errors.EsteemError,
}

EXPORTED = {
    esteemcore: {
        "__version__",
        "codec",
        "diffraction",
        "errors",
        "events",
        "fourd",
        "io",
        "lowrank",
        "multiframe",
        "optics",
        "register",
        "scan",
        "simulate",
        "spectral",
        "stream",
    },
    errors: {
        "CalibrationError",
        "CancelledError",
        "DependencyError",
        "EsteemError",
        "FormatError",
        "ParameterError",
        "ReducerError",
        "StreamError",
    },
    codec: {
        "CODECS",
        "BinaryFramesCodec",
        "Codec",
        "EelsBlocksCodec",
        "EelsBoundedCodec",
        "EventsCodec",
        "LosslessCodec",
        "by_name",
        "decode",
        "decode_binary",
        "decode_eels",
        "decode_events",
        "decode_lossless",
        "encode_binary",
        "encode_eels",
        "encode_events",
        "encode_lossless",
    },
    diffraction: {
        "BraggMap",
        "BraggVectors",
        "Classes",
        "DarkFieldGrains",
        "Descan",
        "DiskTable",
        "Disks",
        "Ellipse",
        "Grains",
        "InnerStructure",
        "MoireStrain",
        "OrientationClusters",
        "Orientations",
        "PixelSize",
        "Probe",
        "Strain",
        "Template",
        "TemplateLibrary",
        "bragg_vector_map",
        "classify",
        "find_descan",
        "find_disks",
        "fit_ellipse",
        "grain_statistics",
        "learn_probe",
        "learn_structure",
        "learn_template",
        "moire_strain",
        "orientation",
        "orientation_clusters",
        "pixel_size",
        "segment_dark_field",
        "settle_orientations",
        "strain",
        "template_library",
    },
    events: {"EventTable", "SparseSI", "events_from_frames", "events_from_packed", "pack_bits", "unpack_bits"},
    lowrank: {"Components", "RowBlocks", "noise_weights", "pca", "truncated_svd"},
    multiframe: {
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
        "ORDERS",
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
        "VISIT_ORDER",
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
    },
    register: {
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
    },
    spectral: {
        "BackgroundRemoved",
        "ComponentMeter",
        "ConvertedSpectra",
        "EdgeMap",
        "ElementLines",
        "EnergyAlignment",
        "MeasuredComposition",
        "MethodAgreement",
        "OnlineComponents",
        "OnlineNmf",
        "OnlinePca",
        "PrincipalComponents",
        "Rank",
        "RelativeThickness",
        "Uncertainty",
        "UncertaintyPart",
        "Unmixing",
        "UnmixingUncertainty",
        "align_energy",
        "cliff_lorimer",
        "convert_axis",
        "edge_map",
        "element_lines",
        "estimate_rank",
        "pca",
        "relative_thickness",
        "remove_background",
        "spectra_chunk",
        "uncertainty",
        "unmix",
    },
    optics: {
        "Aberrations",
        "aberration_phase",
        "aperture_edge",
        "interaction_parameter",
        "parse_aberrations",
        "wavelength_nm",
    },
    stream: {
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
    },
}


def test_the_tree_is_complete_and_as_drawn() -> None:
    assert {getattr(errors, name) for name in errors.__all__} == set(TREE)
    for error, parent in TREE.items():
        assert error.__bases__[0] is parent
    assert issubclass(errors.ParameterError, ValueError)
    assert issubclass(errors.DependencyError, ImportError)
    assert not issubclass(errors.StreamError, ValueError)


@pytest.mark.parametrize("module", EXPORTED, ids=lambda module: module.__name__)
def test_exported_names(module) -> None:
    assert set(module.__all__) == EXPORTED[module]
    assert len(module.__all__) == len(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.__all__) <= set(dir(module))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'spectroscopy'"):
        esteemcore.spectroscopy  # noqa: B018


def test_a_missing_library_names_the_extra_that_brings_it() -> None:
    error = errors.DependencyError("libertem", "distributed")
    assert 'pip install "nionswift-esteem[distributed]"' in str(error)
    assert (error.library, error.extra) == ("libertem", "distributed")


def test_a_stream_error_carries_its_own_copy_of_the_results() -> None:
    results = {"bf": 1}
    error = errors.ReducerError("'adf' failed", results)
    results["adf"] = 2
    assert error.results == {"bf": 1}
    assert errors.StreamError("disk full").results == {}


@pytest.mark.parametrize(
    "error",
    [
        errors.ParameterError("kx is 0"),
        errors.ReducerError("'adf' failed", {"bf": 1}),
        errors.DependencyError("libertem", "distributed"),
    ],
)
def test_errors_come_back_whole_from_another_process(error) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import esteemcore", ("nion", "numba", "zarr", "scipy", "numpy", "skimage", "sklearn", "rsciio")),
        ("import esteemcore.codec", ("nion", "numba", "zarr", "numcodecs", "scipy", "rsciio")),
        ("import esteemcore.stream, esteemcore.events", ("nion", "numba", "zarr", "scipy", "rsciio")),
    ],
)
def test_what_an_import_does_not_bring(statement, never) -> None:
    command = [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "esteemcore" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(never)
