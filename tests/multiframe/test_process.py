"""Recorded series: aligned, summed, mapped, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from known_series import CHANNELS, ENERGY, PAD, SCENE, SHAPE, Series, run
from scipy import ndimage

from esteemcore import io, multiframe
from esteemcore.errors import CalibrationError, CancelledError, FormatError, ParameterError
from esteemcore.events import SparseSI

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"
SERIES = Series(frames=10)
LINE = multiframe.ElementMap("O", (600, 650), ((520, 600), (650, 750)), "linear")


@pytest.fixture(scope="module")
def region(tmp_path_factory) -> multiframe.RegionFolder:
    folder = multiframe.SessionFolder(tmp_path_factory.mktemp("session")).new_region()
    assert run(SERIES, folder).frames == 10
    return folder


@pytest.fixture(scope="module")
def result(region) -> multiframe.ProcessedSeries:
    return multiframe.process_series(region.path, maps=[LINE])


def dataset(images=None, spectra=None, energy=True, **signals) -> io.Dataset:
    axes = (io.Axis("frame", 0), io.Axis("y", 0, 0.1, unit="nm"), io.Axis("x", 0, 0.1, unit="nm"))
    made = {}
    for name, data in {"adf": images, "eels": spectra, **signals}.items():
        if data is not None:
            size = [io.Axis(a.name, n, a.scale, a.offset, a.unit) for a, n in zip(axes, data.shape, strict=False)]
            if data.ndim == 4:
                size.append(io.Axis("energy", data.shape[3], 5.0, 400.0, "eV" if energy else ""))
            made[name] = io.Signal(data, tuple(size))
    return io.Dataset(made)


def images(n: int = 6) -> np.ndarray:
    return np.array([SERIES.image(k) for k in range(n)])


def detector_frames() -> io.Dataset:
    axes = io.Axis("frame", 6), io.Axis("ky", 64), io.Axis("kx", 64)
    return io.Dataset({"patterns": io.Signal(images(), axes, frame_shape=(64, 64))})


def misfit(mean: np.ndarray, region: np.ndarray, offset: np.ndarray) -> float:
    """Return the RMS difference of a mean image to the specimen at the place that the truth says, over its contrast."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    truth = ndimage.map_coordinates(40 * SCENE, [y + PAD + offset[0], x + PAD + offset[1]], order=3)
    return float((mean - truth)[region].std() / truth[region].std())


def test_alignment_brings_the_mean_nearer_to_the_truth(result) -> None:
    where = SERIES.moved.mean(axis=(0, 1))  # the grid lies at the mean displacement of the series
    inside = result.alignment.common_region
    assert result.alignment.accepted.all()
    assert misfit(result.mean, inside, where) < 0.7 * misfit(result.before, inside, where)
    assert result.figures["contrast_after"] > 1.02 * result.figures["contrast_before"]
    truth = SERIES.moved.mean(axis=1)
    np.testing.assert_allclose(result.drift_px, truth - truth[0], atol=0.12)
    np.testing.assert_allclose(result.drift_nm, 0.1 * result.drift_px)


def test_no_count_is_lost(result) -> None:
    counts = sum(float(SERIES.spectra(k).sum()) for k in range(10))
    assert result.spectra.counts == counts
    assert result.spectra.data.sum() + result.spectra.outside == pytest.approx(counts, rel=1e-6)
    assert result.image.data.sum() + result.image.outside == pytest.approx(float(images(10).sum()), rel=1e-6)


def test_the_signal_to_noise_ratio_grows_as_the_root_of_the_dose(result) -> None:
    dose, snr = result.snr["O"].T
    assert len(dose) == 10
    assert dose[-1] == pytest.approx(SERIES.plan().figures.total_dose)
    slope = np.polyfit(np.log(dose[1:]), np.log(snr[1:]), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.06)
    assert result.dose_unit == "e/Å²"


def test_components_of_the_specimen_are_counted(result) -> None:
    assert result.components[-1].n == 3
    assert result.components[-1].frames == 10


@pytest.mark.parametrize("events", [False, True])
def test_energy_steps_are_undone(tmp_path, events) -> None:
    stepped = Series(frames=4, energy_step_channels=2, events=events, jitter_px=0.0, velocity=(0.2, 0.1))
    folder = multiframe.SessionFolder(tmp_path).new_region()
    run(stepped, folder)
    result = multiframe.process_series(folder.path, maps=[LINE])
    truth = sum(stepped.rate(k).sum(axis=(0, 1)) for k in range(4))
    found = result.spectra.data.sum(axis=(0, 1))
    whole = slice(6, CHANNELS)  # what all frames reached
    np.testing.assert_allclose(found[whole], truth[whole], atol=6 * np.sqrt(truth.max()))
    edge = np.diff(found)[38:42].argmax() + 38
    assert ENERGY[edge + 1] == 600
    snr = result.snr["O"][:, 1]
    assert snr[-1] / snr[0] == pytest.approx(2.0, abs=0.25)
    assert result.spectra.channel_coverage[:6].max() < 1


def test_channels_that_few_frames_reached_do_not_bend_a_background() -> None:
    counts = np.full((4, *SHAPE, 40), 100, np.uint16)
    recorded = dataset(np.broadcast_to(SERIES.image(0), (4, *SHAPE)), counts)
    series = io.SeriesRecord(4, energy_offset_ev=np.array([0.0, 10.0, 20.0, 30.0]))
    recorded = io.Dataset(recorded.signals, series=series)
    line = multiframe.ElementMap("flat", (450, 500), (400, 450), "linear")
    found = multiframe.process_series(recorded, maps=[line], components=False, model="rigid").maps["flat"]
    inside = np.s_[4:-4, 4:-4]
    np.testing.assert_allclose(found.data[inside], 0, atol=1.0)  # of 4000 counts


def test_orders_that_are_stored_are_used(tmp_path) -> None:
    """Turned frames have their lines along columns; taken as rasters their drift within a frame would be wrong."""
    series = Series(frames=6, jitter_px=0.0, velocity=(0.8, -0.6))

    def take(request):
        turns = request.order.quarter_turns
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
        time = np.empty(SHAPE[0] * SHAPE[1])
        order = request.order.visits.order
        time[order] = np.arange(time.size) / time.size
        moved = (request.number + time.reshape(SHAPE))[..., None] * np.array(series.velocity)
        scene = 40 * ndimage.map_coordinates(SCENE, [y + moved[..., 0] + PAD, x + moved[..., 1] + PAD], order=3)
        seen = np.random.default_rng(request.number).poisson(scene)
        return {"adf": np.rot90(seen, -turns).astype(np.uint16)}

    signals = {"adf": io.SeriesSignal(SHAPE, np.uint16)}
    settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=6, order="turned raster")
    plan = multiframe.SeriesPlan(multiframe.Region(SHAPE, 0.1), settings, signals)
    folder = multiframe.SessionFolder(tmp_path).new_region()
    assert multiframe.acquire_series(plan, folder, take).frames == 6
    found = multiframe.process_series(folder.path)
    assert found.alignment.accepted.all()
    assert found.alignment.field.shape == (6, *SHAPE, 2)  # lines of some frames are columns
    across = found.alignment.field[
        1, 32, :, :
    ]  # the drift of a frame turned by 90 degrees goes on from column to column
    assert abs(across[-1] - across[0]).max() == pytest.approx(0.8, abs=0.25)
    np.testing.assert_allclose(np.diff(found.drift_px, axis=0), [series.velocity] * 5, atol=0.2)


def test_runs_that_were_appended_and_images_only(tmp_path) -> None:
    folder = multiframe.SessionFolder(tmp_path).new_region()
    series = Series(frames=6)
    for _ in range(2):
        multiframe.acquire_series(series.plan(frames=3), folder, series.take)
    assert len(folder.parts) == 1
    result = multiframe.process_series(folder.path, components=False)
    assert len(result.alignment) == 6
    assert (np.diff(result.time_s) > 0).all()
    np.testing.assert_allclose(result.dose, SERIES.plan().figures.dose_per_frame)
    signals = {"adf": io.load(folder.parts[0][1]).signals["adf"]}
    alone = multiframe.process_series(io.Dataset(signals))
    assert alone.spectra is None
    assert alone.dose_unit == "frames"
    np.testing.assert_allclose(alone.alignment.shifts, result.alignment.shifts)


def test_files_of_one_frame_each_and_spectra_without_an_image(tmp_path) -> None:
    for k in range(3):
        frame = Series(image_counts=10, signal=30).spectra(k)
        axes = (io.Axis("y", 64), io.Axis("x", 64), io.Axis("energy", CHANNELS, 5.0, 400.0, "eV"))
        io.save(tmp_path / f"{k}.esteem", io.Dataset({"eels": io.Signal(frame, axes)}))
    paths = [tmp_path / f"{k}.esteem" for k in range(3)]
    result = multiframe.process_series(paths, model="rigid", upsample=2)
    assert result.spectra.data.shape == (128, 128, CHANNELS)
    assert result.mean.shape == (128, 128)
    assert result.drift_nm is None
    assert result.image.counts == pytest.approx(result.spectra.counts)
    np.testing.assert_allclose(np.diff(result.drift_px, axis=0), [[0.35, -0.25]] * 2, atol=0.2)


def test_what_is_saved_can_be_loaded(result, tmp_path) -> None:
    multiframe.save_processed(tmp_path / "sum.esteem", result)
    stored = io.load(tmp_path / "sum.esteem")
    assert set(stored.signals) == {
        "mean_before", "mean", "image_sum", "coverage", "displacement", "spectra", "spectra_variance", "map_O",
        "map_O_sigma",
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(stored.signals["spectra"].data), result.spectra.data)
    np.testing.assert_array_equal(np.asarray(stored.signals["spectra_variance"].data), result.spectra.variance)
    np.testing.assert_array_equal(np.asarray(stored.signals["map_O_sigma"].data), result.maps["O"].sigma)
    np.testing.assert_array_equal(np.asarray(stored.signals["displacement"].data), result.alignment.field)
    y, _, energy = stored.signals["spectra"].axes
    assert (y.scale, y.unit) == (pytest.approx(0.1), "nm")
    np.testing.assert_allclose(energy.coordinates, ENERGY)
    known = stored.metadata["processed_series"]
    assert known["provenance"]["function"] == "multiframe.process_series"
    assert known["accepted"] == [True] * 10
    with pytest.raises(ParameterError):
        multiframe.save_processed(tmp_path / "sum.esteem", result)
    multiframe.save_processed(tmp_path / "sum.esteem", result, overwrite=True)


def test_frames_that_do_not_belong_are_left_out_in_words() -> None:
    given = images(8).astype(np.float32)
    given[2] = 7.0
    given[5] = np.random.default_rng(9).poisson(ndimage.zoom(given[0][::-1, ::-1], 1.0))[::-1].T
    spectra = np.array([SERIES.spectra(k) for k in range(8)]).astype(np.float32)
    spectra[6, 3, 3, 3] = np.nan
    result = multiframe.process_series(dataset(given, spectra), components=False)
    assert result.alignment.accepted.tolist() == [True, True, False, True, True, False, False, True]
    assert "constant" in result.alignment.reasons[2]
    assert result.alignment.reasons[5]
    assert "not finite" in result.alignment.reasons[6]
    assert np.isnan(result.drift_px[[2, 5, 6]]).all()
    used = [k for k in range(8) if result.alignment.accepted[k]]
    assert result.spectra.counts == pytest.approx(sum(float(SERIES.spectra(k).sum()) for k in used))
    np.testing.assert_allclose(result.before, given[used].mean(axis=0), rtol=1e-5)


def test_areas_side_by_side_are_a_series_each(tmp_path) -> None:
    series, session = Series(frames=3), multiframe.SessionFolder(tmp_path)
    plan = series.plan(areas=2, area_gap_nm=20.0)
    folders = []
    for area in plan.areas:
        folders.append(session.new_region())
        multiframe.acquire_series(plan, folders[-1], series.take, region=area)
    for folder in folders:
        assert len(multiframe.process_series(folder.path, components=False).alignment) == 3
    with pytest.raises(ParameterError, match=r"nm away .* one by one"):
        multiframe.process_series([folder.path for folder in folders])


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        (lambda: dataset(images()[:1]), {}, ParameterError, "1 frame; a series has two or more"),
        (lambda: dataset(images()[0][0]), {}, ParameterError, "no series"),
        (lambda: dataset(images()), {"image": "bf"}, ParameterError, r"no signal 'bf'; there are 'adf' \(frame 6"),
        (lambda: dataset(images()), {"spectra": "adf"}, ParameterError, "are no spectra"),
        (lambda: dataset(images(), bf=images()), {}, ParameterError, "several image signals.*name one with image"),
        (lambda: [dataset(images()), dataset(images()[:, :60])], {}, ParameterError, "60 x 64 .*same size"),
        (lambda: dataset(np.ones((4, 32, 32))), {}, ParameterError, "none of the 4 frames .* constant"),
        (lambda: dataset(images()), {"maps": [LINE]}, ParameterError, "images only"),
        (lambda: dataset(images()), {"upsample": 0}, ParameterError, "upsample"),
        (lambda: dataset(images()), {"model": "affine"}, ParameterError, "model"),
        (lambda: detector_frames(), {}, ParameterError, "no series"),
        (lambda: [], {}, ParameterError, "no source"),
        (lambda: [3], {}, ParameterError, "int; expected a path"),
        (lambda: "absent.esteem", {}, FormatError, "does not exist"),
    ],
)
def test_what_cannot_be_processed_is_refused_in_words(source, options, error, words) -> None:
    with pytest.raises(error, match=words):
        multiframe.process_series(source(), **options)


def test_an_empty_folder_is_called_empty(tmp_path) -> None:
    with pytest.raises(ParameterError, match="is empty; give the folder of a region"):
        multiframe.process_series(tmp_path)


def test_maps_need_an_energy_axis() -> None:
    spectra = np.array([SERIES.spectra(k) for k in range(3)])
    with pytest.raises(CalibrationError, match="energy"):
        multiframe.process_series(dataset(images(3), spectra, energy=False), maps=[LINE])
    found = multiframe.process_series(
        dataset(images(3), spectra, energy=False), maps=[LINE], energy_ev=(400, 5), components=False, variance=False
    )
    assert found.spectra.variance is None
    assert np.isfinite(found.maps["O"].snr)


def test_a_session_is_not_a_series_and_work_can_be_stopped(region) -> None:
    with pytest.raises(ParameterError, match="region_001"):
        multiframe.process_series(region.path.parent)
    stop = threading.Event()
    seen = []

    def progress(done: float) -> None:
        seen.append(done)
        if done > 0.3:
            stop.set()

    with pytest.raises(CancelledError):
        multiframe.process_series(region.path, progress=progress, cancel=stop)
    assert seen == sorted(seen)
    assert 0.3 < max(seen) < 0.6


def drifted(k: int, offset_ev: float, seed: int = 0) -> np.ndarray:
    """Counts of frame k with a zero-loss peak that lies elsewhere in each frame, and in each column."""
    x = np.arange(SHAPE[1]) + np.zeros(SHAPE)
    energy = np.arange(-10.0, 20.0, 0.5)
    place = offset_ev + 0.02 * (x - 31.5)
    peak = np.exp(-((energy - place[..., None]) ** 2) / 0.5)
    return np.random.default_rng((seed, k)).poisson(2 * SERIES.image(k)[..., None] / 40 * peak + 1e-3)


@pytest.mark.parametrize("sparse", [False, True])
def test_energies_are_aligned_before_the_frames_are_summed(sparse) -> None:
    offsets = [0.0, 0.8, -1.1, 2.3]
    frames = np.array([drifted(k, offset) for k, offset in enumerate(offsets)]).astype(np.uint16)
    recorded = dataset(images(4), frames)
    axes = (*recorded.signals["eels"].axes[:3], io.Axis("energy", 60, 0.5, -10.0, "eV"))
    data, kind = (SparseSI.from_dense(frames), "events") if sparse else (frames, "dense")
    recorded = io.Dataset({**recorded.signals, "eels": io.Signal(data, axes, kind)})
    wanted = multiframe.EnergySettings(model="plane", pool_px=4, at_ev=0.0)
    aligned = multiframe.process_series(recorded, align_energy=wanted, components=False)
    as_is = multiframe.process_series(recorded, components=False)

    def width(result) -> float:
        total = result.spectra.data.sum(axis=(0, 1))
        centre = total @ result.energy_ev / total.sum()
        return float(np.sqrt(total @ (result.energy_ev - centre) ** 2 / total.sum()))

    assert width(aligned) < 0.75 * width(as_is)
    np.testing.assert_allclose(np.diff(aligned.energy_shifts), -2 * np.diff(offsets), atol=0.05)
    assert abs(aligned.energy_ev[aligned.spectra.data.sum(axis=(0, 1)).argmax()]) < 0.3
    assert aligned.spectra.variance_kind == "counting"  # whole counts have stayed whole counts
    assert aligned.spectra.counts == pytest.approx(float(frames.sum()), rel=1e-3)  # less those beyond the axis


def test_frames_whose_feature_is_missing_are_left_out_in_words() -> None:
    frames = np.array([drifted(k, 0.0) for k in range(4)])
    frames[2] = 0
    found = multiframe.process_series(
        dataset(images(4), frames), align_energy=multiframe.EnergySettings(), components=False
    )
    assert found.alignment.accepted.tolist() == [True, True, False, True]
    assert "energies could not be aligned: the spectra hold no counts" in found.alignment.reasons[2]
    with pytest.raises(ParameterError, match="images only"):
        multiframe.process_series(dataset(images(4)), align_energy=multiframe.EnergySettings())


@pytest.mark.parametrize("events", [False, True])
def test_binned_channels_hold_the_same_counts(events) -> None:
    spectra = np.array([SERIES.spectra(k) for k in range(3)]).astype(np.uint16)
    recorded = dataset(images(3), spectra)
    if events:
        signal = io.Signal(SparseSI.from_dense(spectra), recorded.signals["eels"].axes, "events")
        recorded = io.Dataset({**recorded.signals, "eels": signal})
    fine, coarse = (multiframe.process_series(recorded, bin_channels=n, components=False, maps=[LINE]) for n in (1, 4))
    grouped = fine.spectra.data.reshape(*SHAPE, -1, 4).sum(axis=3)
    np.testing.assert_allclose(coarse.spectra.data, grouped, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(coarse.energy_ev, fine.energy_ev.reshape(-1, 4).mean(axis=1))
    with pytest.raises(ParameterError, match="divisor"):
        multiframe.process_series(recorded, bin_channels=7)


def test_frames_of_a_file_of_jeol() -> None:
    """Events of 14 sweeps, 0.08 per pixel: two halves of the events, registered apart, tell the same drift."""
    path = REAL / "View000_0000006.pts"
    if not path.exists():
        pytest.skip("the files from instruments are not beside the repository")
    spectra = io.load_frames(path).signals["spectra"].data
    counts = np.add.reduceat(np.append(spectra.count, 0).astype(int), spectra.offset[:-1])
    counts[np.diff(spectra.offset) == 0] = 0
    frames = counts.reshape(spectra.shape[:3])
    assert frames.shape == (14, 512, 512)
    assert frames.sum() == spectra.count.sum()
    coarse = frames.reshape(14, 256, 2, 256, 2).sum(axis=(2, 4))
    half = np.random.default_rng(0).binomial(coarse, 0.5)
    one, two = (multiframe.process_series(dataset(part), model="rigid") for part in (half, coarse - half))
    assert one.alignment.accepted.all()
    assert two.alignment.accepted.all()
    difference = one.drift_px - two.drift_px
    difference -= difference.mean(axis=0)
    assert difference.std() < 0.4
    assert one.drift_px.std() > 1.5 * difference.std()


def test_files_of_digital_micrograph_are_frames_of_a_series(tmp_path) -> None:
    """The real file has 2 x 2 pixels, too few to register, which is told; its spectra are those of each frame."""
    path = REAL / "EELS_SI.dm4"
    if not path.exists():
        pytest.skip("the files from instruments are not beside the repository")
    with pytest.raises(ParameterError, match="at least 8 rows"):
        multiframe.process_series([path] * 3)
