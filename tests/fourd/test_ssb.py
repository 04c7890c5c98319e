"""SSB against exact weak-phase forward models, an independent implementation, and data with known truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

from esteemcore import events, fourd, stream
from esteemcore.errors import CalibrationError, ParameterError
from esteemcore.events import pack_bits
from esteemcore.fourd.ssb_bins import make_bins, make_overlaps
from esteemcore.optics import aberration_phase, wavelength_nm

SCAN, DET = 24, 48
CELL_NM = 0.96
ENERGY = 200.0
PIXEL_MRAD = 1e3 * wavelength_nm(ENERGY) / CELL_NM
SEMIANGLE = 9.6 * PIXEL_MRAD


def geometry(**changes) -> fourd.Geometry:
    values = {
        "scan_step_nm": CELL_NM / SCAN,
        "beam_energy_kev": ENERGY,
        "semiangle_mrad": SEMIANGLE,
        "pixel_mrad": PIXEL_MRAD,
    }
    return fourd.Geometry(**{**values, **changes})


def object_phase(strength: float, seed: int = 3, highest: int = 11) -> np.ndarray:
    """A periodic phase (DET, DET) with all spatial frequencies up to ``highest`` periods per cell."""
    rng = np.random.default_rng(seed)
    spectrum = np.zeros((DET, DET), complex)
    n = np.fft.fftfreq(DET, 1 / DET)
    band = np.hypot(n[:, None], n[None]) <= highest
    spectrum[band] = rng.normal(size=band.sum()) + 1j * rng.normal(size=band.sum())
    phase = np.fft.ifft2(spectrum).real
    phase -= phase.mean()
    return strength * phase / phase.std()


def diffraction(phase: np.ndarray, aberrations=None) -> np.ndarray:
    """Exact patterns (SCAN, SCAN, DET, DET) of a thin object for every probe position; each sums to one."""
    n = np.fft.fftfreq(DET, 1 / DET)
    k = n / CELL_NM
    aperture = (np.hypot(n[:, None], n[None]) <= SEMIANGLE / PIXEL_MRAD).astype(complex)
    aperture *= np.exp(-1j * aberration_phase(k[:, None], k[None], wavelength_nm(ENERGY), aberrations))
    transmission = np.exp(1j * phase)
    patterns = np.empty((SCAN, SCAN, DET, DET))
    for y in range(SCAN):
        for x in range(SCAN):
            shift = np.exp(-2j * np.pi * (n[:, None] * y + n[None] * x) / SCAN)
            exit_wave = np.fft.ifft2(aperture * shift) * transmission
            patterns[y, x] = np.fft.fftshift(np.abs(np.fft.fft2(exit_wave)) ** 2)
    return patterns / patterns.sum(axis=(2, 3), keepdims=True)


def reconstruct(data, geometry, **options) -> fourd.SingleSidebandResult:
    data = data.astype(np.float32) if data.dtype == np.float64 else data
    spec = stream.Spec(data.shape[:2], data.shape[2:], data.dtype)
    reducer = fourd.SingleSideband(geometry, **options)
    return stream.run({"ssb": reducer}, spec, stream.chunks(data))["ssb"]


def on_scan(phase: np.ndarray) -> np.ndarray:
    return phase[:: DET // SCAN, :: DET // SCAN]


def fit(image: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Correlation, and scale of the image on the truth."""
    a, b = image - image.mean(), truth - truth.mean()
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())), float((a * b).sum() / (b * b).sum())


@pytest.mark.parametrize("bins", [60, 100_000])
@pytest.mark.parametrize(
    "aberrations",
    [None, {"C10": -8.0}, {"C10": 5.0, "C12": (4.0, 0.6)}, {"C30": 3e4, "C21": (150.0, 1.0)}],
    ids=["focus", "defocus", "astigmatism", "spherical and coma"],
)
def test_a_weak_phase_is_recovered_to_scale(aberrations, bins) -> None:
    truth = object_phase(2e-3)
    data = diffraction(truth, aberrations) * 1e4
    result = reconstruct(data, geometry(aberrations=aberrations), bins=bins, regularization=1e-4)
    correlation, scale = fit(result.phase, on_scan(truth))
    assert correlation > 0.985
    assert scale == pytest.approx(1.0, abs=0.04)


def test_leaving_the_defocus_out_spoils_the_image() -> None:
    truth = object_phase(2e-3)
    data = diffraction(truth, {"C10": -12.0}) * 1e4
    right = fit(reconstruct(data, geometry(aberrations={"C10": -12.0})).phase, on_scan(truth))[0]
    wrong_sign = fit(reconstruct(data, geometry(aberrations={"C10": 12.0})).phase, on_scan(truth))[0]
    none = fit(reconstruct(data, geometry()).phase, on_scan(truth))[0]
    assert right > 0.97
    assert max(none, wrong_sign) < right - 0.1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_of_the_scan(turns) -> None:
    """A scan whose axes lie 90, 180, 270 degrees from the detector's sees the same object from a turned scan."""
    truth = object_phase(2e-3)
    data = diffraction(truth)
    position = np.stack(np.meshgrid(np.arange(SCAN), np.arange(SCAN), indexing="ij"), -1)
    angle = np.deg2rad(90 * turns)
    turn = np.rint([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).astype(int)
    row, column = np.moveaxis(position @ turn.T, -1, 0) % SCAN
    turned = reconstruct(data[row, column] * 1e4, geometry(rotation_deg=90 * turns))
    assert fit(turned.phase, on_scan(truth)[row, column])[0] > 0.98
    wrong = reconstruct(data[row, column] * 1e4, geometry(rotation_deg=90 * turns + 180))
    assert fit(wrong.phase, on_scan(truth)[row, column])[0] < -0.98


def test_a_flipped_detector() -> None:
    truth = object_phase(2e-3)
    data = diffraction(truth).swapaxes(2, 3) * 1e4
    assert fit(reconstruct(data, geometry(flip=True)).phase, on_scan(truth))[0] > 0.98
    assert fit(reconstruct(data, geometry()).phase, on_scan(truth))[0] < 0.7


def test_agreement_with_the_textbook_sum_over_all_pixels() -> None:
    """Plain NumPy: transform every bright-field pixel, weight by conj(gamma), divide by sum |gamma|^2 + eps N."""
    truth = object_phase(2e-3)
    data = diffraction(truth, {"C10": 6.0}) * 1e4
    geo = geometry(aberrations={"C10": 6.0})
    inside = geo.bright_field((DET, DET))
    wavelength = wavelength_nm(ENERGY)
    k = (np.stack(geo.detector_mrad((DET, DET)), -1) * 1e-3 / wavelength)[inside]
    q = np.fft.fftfreq(SCAN, CELL_NM / SCAN)
    radius, width = SEMIANGLE * 1e-3 / wavelength, PIXEL_MRAD * 1e-3 / wavelength

    def aperture(vector):
        edge = np.clip((radius - np.hypot(*vector.T)) / width + 0.5, 0, 1)
        return edge * np.exp(-1j * aberration_phase(*vector.T, wavelength, {"C10": 6.0}))

    counts = data[:, :, inside]
    spectrum = np.fft.fft2(counts, axes=(0, 1))
    intensity = counts.mean()
    phi = np.zeros((SCAN, SCAN), complex)
    for i in range(SCAN):
        for j in range(SCAN):
            if i == j == 0 or SCAN // 2 in (i, j) or np.hypot(q[i], q[j]) >= 2 * radius:
                continue
            shift = np.array([q[i], q[j]])
            gamma = aperture(k - shift) * aperture(k).conj() - aperture(k) * aperture(k + shift).conj()
            power = (np.abs(gamma) ** 2).sum() + 0.03 * len(k)
            phi[i, j] = (gamma.conj() * spectrum[i, j]).sum() / (1j * power * intensity)
    twin = np.fft.ifft2(phi).real
    ours = reconstruct(data, geo, bins=100_000).phase
    np.testing.assert_allclose(ours, twin, atol=2e-3 * np.abs(twin).max())


def test_binning_does_not_bias() -> None:
    truth = object_phase(2e-3)
    data = diffraction(truth) * 1e4
    scales = [
        fit(reconstruct(data, geometry(), bins=b, regularization=1e-3).phase, on_scan(truth))[1] for b in (40, 10**6)
    ]
    assert scales[0] == pytest.approx(scales[1], rel=0.02)


def test_brightness_does_not_matter_and_noise_does() -> None:
    truth = object_phase(0.05)
    patterns = diffraction(truth)
    bright, dim = (reconstruct(patterns * dose, geometry()).phase for dose in (1e3, 7e3))
    np.testing.assert_allclose(bright, dim, atol=1e-4 * np.abs(dim).max())
    rng = np.random.default_rng(0)
    errors = []
    for dose in (400, 1600, 6400):
        counted = rng.poisson(patterns * dose).astype(np.uint16)
        errors.append((reconstruct(counted, geometry()).phase - dim).std())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.15)


def test_one_bit_frames_are_corrected_for_double_hits() -> None:
    truth = object_phase(0.03)
    rng = np.random.default_rng(1)
    counts = rng.poisson(np.repeat(diffraction(truth)[None], 40, 0) * 300)
    packed = pack_bits(counts).reshape(-1, DET, DET // 8)
    index = np.tile(np.arange(SCAN * SCAN), 40)
    spec = stream.Spec((SCAN, SCAN), (DET, DET), np.uint8, packed=True)
    chunks = [stream.Chunk(index[i : i + 999], packed[i : i + 999]) for i in range(0, len(index), 999)]
    reducers = {c: fourd.SingleSideband(geometry(), occupancy_correction=c) for c in (None, True, False)}
    results = stream.run(reducers, spec, chunks)
    counted = reconstruct(counts.sum(0).astype(np.uint16), geometry())
    reference = fit(counted.phase, on_scan(truth))[1]
    assert results[None].occupancy == pytest.approx(0.63, abs=0.1)
    assert fit(results[None].phase, on_scan(truth))[1] == pytest.approx(reference, rel=0.05)
    assert fit(results[False].phase, on_scan(truth))[1] < 0.75 * reference
    np.testing.assert_array_equal(results[None].phase, results[True].phase)
    assert "corrected for double hits" in results[None].notes[0]
    assert "lower the phase" in results[False].notes[0]
    assert results[None].electrons_per_frame == pytest.approx(
        counts[..., geometry().bright_field((DET, DET))].sum() / len(packed), rel=0.03
    )


def test_gaps_and_repeats() -> None:
    """Repeated positions are averaged; missing ones take the mean, which lowers the contrast but not the average."""
    truth = object_phase(2e-3)
    data = diffraction(truth).astype(np.float32) * 1e4
    spec = stream.Spec((SCAN, SCAN), (DET, DET), np.float32)
    reducer = fourd.SingleSideband(geometry())
    once = stream.run({"r": reducer}, spec, stream.chunks(data))["r"]
    twice = np.concatenate([np.arange(SCAN * SCAN), np.arange(100)])
    repeated = stream.run({"r": reducer}, spec, stream.chunks(data, order=twice))["r"]
    np.testing.assert_allclose(repeated.phase, once.phase, atol=2e-5 * np.abs(once.phase).max())
    assert repeated.visits.max() == 2
    half = np.random.default_rng(0).permutation(SCAN * SCAN)[: SCAN * SCAN // 2]
    sparse = stream.run({"r": reducer}, spec, stream.chunks(data, order=half))["r"]
    assert fit(sparse.phase, once.phase)[1] == pytest.approx(0.5, abs=0.1)
    assert "288 of 576 positions have no frame" in sparse.notes[0]
    assert sparse.visits.sum() == len(half)


def test_shuffled_and_cut_in_any_way_the_image_is_the_same() -> None:
    rng = np.random.default_rng(4)
    packed = pack_bits(rng.poisson(diffraction(object_phase(0.05)) * 50))
    spec = stream.Spec((SCAN, SCAN), (DET, DET), np.uint8, packed=True)
    reducer = fourd.SingleSideband(geometry())
    states = []
    for order, size in ((None, 1000), (None, 1), (rng.permutation(SCAN * SCAN), 77)):
        state = reducer.init(spec)
        for chunk in stream.chunks(packed, order=order, size=size, packed_kx=DET):
            reducer.update(state, chunk)
        states.append(state)
    for state in states[1:]:
        np.testing.assert_array_equal(state["counts"], states[0]["counts"])
        np.testing.assert_array_equal(reducer.result(state).phase, reducer.result(states[0]).phase)


def test_counts_widen_before_they_overflow() -> None:
    geo = geometry()
    reducer = fourd.SingleSideband(geo, bins=40)
    frame = np.full((DET, DET), 1000, np.uint16)
    spec = stream.Spec((1, 2), (DET, DET), np.uint16)
    state = reducer.init(spec)
    assert state["counts"].dtype == np.uint16
    bins = make_bins(geo, (DET, DET), 40)
    for _ in range(4):
        reducer.update(state, stream.Chunk(np.zeros(30, np.int64), np.repeat(frame[None], 30, 0)))
    np.testing.assert_array_equal(state["counts"][0], 120_000 * bins.pixels)
    np.testing.assert_array_equal(state["counts"][1], 0)
    merged = reducer.merge(state, state)
    np.testing.assert_array_equal(merged["counts"][0], 240_000 * bins.pixels)
    full = pack_bits(np.ones((600, DET, DET), np.uint8))
    spec = stream.Spec((1, 2), (DET, DET), np.uint8, packed=True)
    state = reducer.init(spec)
    for _ in range(12):
        reducer.update(state, stream.Chunk(np.ones(600, np.int64), full))
    np.testing.assert_array_equal(state["counts"][1], 7200 * bins.pixels)


def test_geometry_can_change_after_the_fact() -> None:
    truth = object_phase(2e-3)
    data = diffraction(truth, {"C10": -8.0}).astype(np.float32) * 1e4
    spec = stream.Spec((SCAN, SCAN), (DET, DET), np.float32)
    reducer = fourd.SingleSideband(geometry())
    state = reducer.init(spec)
    for chunk in stream.chunks(data):
        reducer.update(state, chunk)
    before = {name: array.copy() for name, array in state.arrays.items()}
    better = reducer.evaluate(state, geometry=geometry(aberrations={"C10": -8.0}), regularization=0.01)
    assert better.geometry.aberrations == {"C10": -8.0}
    assert better.regularization == 0.01
    assert fit(better.phase, on_scan(truth))[0] > 0.97 > fit(reducer.result(state).phase, on_scan(truth))[0]
    for name, array in before.items():
        np.testing.assert_array_equal(state[name], array)
    with pytest.raises(ParameterError, match="semiangle_mrad changed"):
        reducer.evaluate(state, geometry=geometry(semiangle_mrad=SEMIANGLE / 2))


def explained(data: np.ndarray, geo: fourd.Geometry, **judged) -> float:
    spec = stream.Spec(data.shape[:2], data.shape[2:], data.dtype)
    reducer = fourd.SingleSideband(geo)
    state = reducer.init(spec)
    for chunk in stream.chunks(data):
        reducer.update(state, chunk)
    return reducer.explained(state, **judged)


def test_how_much_a_weak_phase_explains() -> None:
    """All of a weak phase, little of a strong one or with wrong calibrations; unknown where noise hides all."""
    rng = np.random.default_rng(2)
    weak = rng.poisson(diffraction(object_phase(0.1)) * 3e4).astype(np.uint16)
    assert explained(weak, geometry()) == pytest.approx(1, abs=0.08)
    assert explained(weak, geometry(), geometry=geometry(rotation_deg=90)) < 0.1
    assert explained(weak, geometry(), geometry=geometry(aberrations={"C10": -12.0})) < 0.5
    strong = rng.poisson(diffraction(object_phase(1.2)) * 3e4).astype(np.uint16)
    assert explained(strong, geometry()) < 0.6
    defocused = rng.poisson(diffraction(object_phase(0.1), {"C10": -12.0}) * 3e4).astype(np.uint16)
    assert explained(defocused, geometry(aberrations={"C10": -12.0})) == pytest.approx(1, abs=0.08)
    nothing = rng.poisson(diffraction(object_phase(0.0)) * 300).astype(np.uint16)
    assert np.isnan(explained(nothing, geometry()))
    noiseless = diffraction(object_phase(0.02)).astype(np.float32)
    assert explained(noiseless, geometry()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("center", [None, (24.3, 23.6)])
@pytest.mark.parametrize("bins", [20, 128, 10**6])
def test_bins_partition_the_disk_and_are_compact(bins, center) -> None:
    geo = geometry(center=center)
    cut = make_bins(geo, (DET, DET), bins)
    inside = geo.bright_field((DET, DET)).ravel()
    np.testing.assert_array_equal(cut.label >= 0, inside)
    np.testing.assert_array_equal(np.bincount(cut.label[inside]), cut.pixels)
    assert cut.sample_pixels.sum() == inside.sum()
    if bins < inside.sum():
        assert abs(cut.count - bins) < 0.25 * bins
        row, column = (angle.ravel()[inside] for angle in geo.detector_mrad((DET, DET)))
        label = cut.label[inside]
        spread = np.sqrt(
            sum(
                np.bincount(label, a**2) / cut.pixels - (np.bincount(label, a) / cut.pixels) ** 2 for a in (row, column)
            )
        )
        assert spread.max() < 1.2 * SEMIANGLE * np.sqrt(np.pi / 6 / cut.count)
    else:
        assert cut.count == inside.sum()


@pytest.mark.parametrize("aberrations", [None, {"C10": -8.0}])
def test_channels_keep_what_they_promise(aberrations) -> None:
    """Few channels with independent noise hold nearly all that the bins say about each frequency."""
    geo = geometry(aberrations=aberrations)
    bins = make_bins(geo, (DET, DET), 128)
    every = make_overlaps(geo, bins, (SCAN, SCAN), 1.0)
    few = make_overlaps(geo, bins, (SCAN, SCAN), 0.97)
    assert len(few.mixing) < (0.4 if aberrations is None else 0.7) * bins.count
    noise = few.mixing * bins.pixels @ few.mixing.T
    np.testing.assert_allclose(noise, np.eye(len(few.mixing)), atol=1e-5)
    power = (np.abs(every.gamma) ** 2).sum(0)
    held = (np.abs(few.gamma) ** 2).sum(0)
    seen = power > 1e-6 * power.max()
    assert (held[seen] / power[seen]).mean() == pytest.approx(few.kept, abs=1e-3)
    assert few.kept >= 0.97
    np.testing.assert_allclose(few.gamma, few.mixing @ (every.gamma * np.sqrt(bins.pixels)[:, None]), atol=1e-3)


def test_empty_and_dark_data_give_a_flat_image() -> None:
    spec = stream.Spec((4, 5), (DET, DET), np.uint8, packed=True)
    reducer = fourd.SingleSideband(geometry())
    empty = stream.run({"r": reducer}, spec, [])["r"]
    dark = stream.run({"r": reducer}, spec, stream.chunks(np.zeros((4, 5, DET, DET // 8), np.uint8), packed_kx=DET))[
        "r"
    ]
    assert not empty.phase.any()
    assert not dark.phase.any()
    assert "20 of 20 positions" in empty.notes[0]


def test_bad_geometry_is_refused_in_words() -> None:
    with pytest.raises(CalibrationError, match="does not fit on the detector of 48 x 48"):
        fourd.SingleSideband(geometry(semiangle_mrad=30 * PIXEL_MRAD)).init(stream.Spec((4, 4), (DET, DET), np.uint8))
    with pytest.raises(CalibrationError, match="covers only 1 pixels"):
        fourd.SingleSideband(geometry(semiangle_mrad=0.5 * PIXEL_MRAD)).init(stream.Spec((4, 4), (DET, DET), np.uint8))
    with pytest.raises(CalibrationError, match="pixel_mrad is missing"):
        geometry(pixel_mrad=None)
    with pytest.raises(CalibrationError, match="scan_step_nm is nan"):
        geometry(scan_step_nm=float("nan"))
    with pytest.raises(CalibrationError, match="Krivanek"):
        geometry(aberrations={"defocus": 3})
    with pytest.raises(ParameterError, match="regularization"):
        fourd.SingleSideband(geometry(), regularization=0)
    with pytest.raises(ParameterError, match="bins"):
        fourd.SingleSideband(geometry(), bins=1)


def load_set(folder, name: str, dose: int, one_bit: bool) -> tuple[np.ndarray, np.ndarray, fourd.Geometry]:
    meta = json.loads((folder / f"{name}.json").read_text())
    n = meta["n"]
    if one_bit:
        data = np.load(folder / f"{name}_d{dose}_bin.npz")["bits"].reshape(n, n, 64, 8)
    else:
        table = np.load(folder / f"{name}_d{dose}.npz")
        frame = np.repeat(np.arange(n * n), table["n_per_frame"].astype(int))
        data = np.zeros((n * n, 4096), np.uint16)
        data[frame, table["pix"]] = table["val"]
        data = data.reshape(n, n, 64, 64)
    geo = fourd.Geometry(
        scan_step_nm=meta["step"] / 10, beam_energy_kev=meta["kV"], semiangle_mrad=meta["alpha"],
        pixel_mrad=tuple(meta["det_px_mrad"]), center=tuple(meta["det_center_px"]), rotation_deg=meta["rot"],
    )  # fmt: skip
    return data, np.load(folder / f"{name}_truth.npz")["truth_bl"], geo


@pytest.mark.parametrize(
    ("name", "dose", "one_bit", "correlation", "scale"),
    [
        ("mfi_a", 20000, False, 0.970, 0.85),
        ("mfi_a", 2000, False, 0.850, 0.82),
        ("mfi_a", 200, False, 0.455, 0.82),
        ("mfi_a", 200, True, 0.450, 0.82),
        ("mfi_a", 20000, True, 0.960, 0.85),
        ("mfi_b", 2000, False, 0.890, 0.80),
    ],
)
def test_marks_on_a_zeolite(shared_data, name, dose, one_bit, correlation, scale) -> None:
    data, truth, geo = load_set(shared_data / "ptychography", name, dose, one_bit)
    spec = stream.Spec(data.shape[:2], (64, 64), data.dtype, packed=one_bit)
    chunks = stream.chunks(data, packed_kx=64 if one_bit else None)
    result = stream.run({"ssb": fourd.SingleSideband(geo)}, spec, chunks)["ssb"]
    got = fit(result.phase, truth)
    assert got[0] >= correlation
    assert got[1] >= scale


def test_the_mark_without_occupancy_correction(shared_data) -> None:
    """Without the correction the scale of crowded one-bit frames is .52: the correction is what brings it back."""
    data, truth, geo = load_set(shared_data / "ptychography", "mfi_a", 20000, True)
    spec = stream.Spec(data.shape[:2], (64, 64), data.dtype, packed=True)
    reducer = fourd.SingleSideband(geo, occupancy_correction=False)
    result = stream.run({"ssb": reducer}, spec, stream.chunks(data, packed_kx=64))["ssb"]
    assert fit(result.phase, truth)[1] == pytest.approx(0.52, abs=0.05)


@pytest.mark.parametrize("packed", [False, True])
def test_events_that_share_a_pixel_do_not_overflow(packed) -> None:
    geometry = fourd.Geometry(scan_step_nm=0.03, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=1.25)
    reducer = fourd.SingleSideband(geometry, bins=20, occupancy_correction=False)
    state = reducer.init(stream.Spec((1, 2), (30, 30), np.uint8, packed=packed))
    for n in (60_000, 6_000):
        table = events.EventTable([0, n], np.full(n, 15 * 30 + 15), np.ones(n, np.uint16))
        reducer.update(state, stream.Chunk([0], events=table))
    assert state["counts"].sum() == 66_000
    table = events.EventTable([0, 2], [465, 465], [60_000, 60_000])
    reducer.update(state, stream.Chunk([1], events=table))
    assert state["counts"].sum() == 186_000


def test_another_energy_moves_the_bins() -> None:
    values = {"scan_step_nm": 0.03, "semiangle_mrad": 15, "pixel_mrad": 1.25}
    reducer = fourd.SingleSideband(fourd.Geometry(beam_energy_kev=200, **values), bins=20)
    state = reducer.init(stream.Spec((3, 4), (30, 30), np.uint8))
    other = fourd.Geometry(beam_energy_kev=80, **values)
    for ask in (reducer.evaluate, reducer.explained):
        with pytest.raises(ParameterError, match="beam_energy_kev changed from 200"):
            ask(state, geometry=other)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_values_that_are_not_finite_are_told() -> None:
    geometry = fourd.Geometry(scan_step_nm=0.03, beam_energy_kev=200, semiangle_mrad=15, pixel_mrad=1.25)
    data = np.ones((3, 4, 30, 30), np.float32)
    data[1, 1, 15, 15] = np.nan
    spec = stream.Spec((3, 4), (30, 30), np.float32)
    result = stream.run({"ssb": fourd.SingleSideband(geometry, bins=20)}, spec, stream.chunks(data))["ssb"]
    assert "not finite" in result.notes[0]


def test_steps_that_are_too_wide_are_told() -> None:
    values = {"beam_energy_kev": 200, "semiangle_mrad": 15, "pixel_mrad": 1.25}
    for step, told in ((0.04, False), ((0.04, 0.1), True)):
        reducer = fourd.SingleSideband(fourd.Geometry(scan_step_nm=step, **values), bins=20)
        state = reducer.init(stream.Spec((3, 4), (30, 30), np.uint8))
        assert any("too wide" in note for note in reducer.result(state).notes) == told
