"""Make the pictures of the tutorial on multi-frame processing, and print its figures.

``python -m scripts.multi_frame_study``: a minute or two. The five tests follow Jones et al., Microscopy 67 (2018) i98,
on simulated specimens, with fixed seeds: one slow or many fast frames, signal-to-noise ratio and super-resolution,
averages of a motif, components against dose, data rates.
"""

from __future__ import annotations

import dataclasses
import sys
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from esteemcore import codec, io, multiframe, register, simulate
from esteemcore.cli import pictures
from esteemcore.events import SparseSI
from scripts.make_pictures import FOLDER, SIDE, Panel, compose

CAMERA = simulate.EelsCamera(280, 1.0, 400.0)
TI = multiframe.ElementMap("Ti", (456.0, 478.0), (410.0, 450.0))
OXYGEN = multiframe.ElementMap("O", (532.0, 560.0), (495.0, 528.0))
ELEMENTARY_CHARGE_C = 1.602176634e-19


def say(line: str) -> None:
    """Print a figure of the tutorial."""
    sys.stdout.write(line + "\n")


@dataclasses.dataclass
class Microscope:
    """Scans of a specimen that drifts, by a beam that shakes, line by line.

    Parameters
    ----------
    specimen : str
        One of known composition.
    shape : (int, int)
        Pixels.
    pixel_nm, dwell_s, current_pa : float
        Size of a pixel, time on it, and current.
    drift_nm_s : (float, float)
        Velocity of the specimen.
    jitter_nm : float
        Standard deviation of where a line lies, along both axes; lines are correlated by 0.7.
    damage : Damage, optional
        Default: the specimen stands anything.
    seed : int
    """

    specimen: str
    shape: tuple[int, int]
    pixel_nm: float
    dwell_s: float
    current_pa: float
    drift_nm_s: tuple[float, float] = (0.0, 0.0)
    jitter_nm: float = 0.02
    damage: simulate.Damage | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self.composition = simulate.composition(self.specimen)
        self.electrons = self.current_pa * 1e-12 * self.dwell_s / ELEMENTARY_CHARGE_C
        self.eels = simulate.EelsSampler(self.composition, CAMERA, seed=self.seed)
        self.eds = simulate.EdsSampler(self.composition, simulate.EdsDetector(), seed=self.seed)
        self.suffered = None if self.damage is None else simulate.DamageMap(self.damage, cell_nm=self.pixel_nm)
        self._rng = np.random.default_rng(self.seed)
        self._time_s = 0.0
        self.extent = 0.0

    @property
    def dose(self) -> float:
        """Dose of a frame in e/Å²."""
        return self.electrons / (10 * self.pixel_nm) ** 2

    def content(self) -> simulate.Content:
        """Scan a frame, and return what lay under its pixels."""
        pixels = np.argwhere(np.ones(self.shape, np.bool_)) - (np.array(self.shape) - 1) / 2
        times = self._time_s + self.dwell_s * np.arange(len(pixels))
        self._time_s = times[-1] + self.dwell_s
        line = self._rng.standard_normal((self.shape[0], 2))
        for i in range(1, len(line)):
            line[i] = 0.7 * line[i - 1] + np.sqrt(1 - 0.7**2) * line[i]
        moved = self.jitter_nm * np.repeat(line, self.shape[1], axis=0)
        places = pixels * self.pixel_nm + moved + times[:, None] * np.array(self.drift_nm_s)
        if self.suffered is None or self.damage is None:
            return self.composition.at(places)
        extent = self.damage.extent(self.suffered.expose(places, self.electrons, self.dwell_s, times))
        self.extent = float(extent.mean())
        return self.damage.content(self.composition, places, extent)

    def image(self, content: simulate.Content) -> NDArray[np.uint32]:
        """Return the counts of the dark field, 60 to 200 mrad, each electron at most one."""
        part = content.scattered(200.0, 60.0, 200.0)
        return self._rng.poisson(self.electrons * part).reshape(self.shape).astype(np.uint32)

    def frames(self, n: int, kind: str) -> io.Dataset:
        """Return a series of n frames: images and spectra, ``"eels"`` or ``"eds"``."""
        images, spectra = [], []
        for _ in range(n):
            content = self.content()
            images.append(self.image(content))
            if kind == "eels":
                seen = self.eels.spectra(content, self.electrons)
                spectra.append(seen.reshape(*self.shape, -1).astype(np.uint32))
            else:
                spectra.append(self.eds.events(content, self.electrons, self.shape))
        step = self.pixel_nm
        axes = (
            io.Axis("frame", n),
            io.Axis("y", self.shape[0], step, unit="nm"),
            io.Axis("x", self.shape[1], step, unit="nm"),
        )
        if kind == "eels":
            energy = io.Axis("energy", CAMERA.channels, CAMERA.ev_per_channel, CAMERA.offset_ev, "eV")
            signal = io.Signal(np.array(spectra), (*axes, energy))
        else:
            detector = self.eds.detector
            scale, offset = 1e3 * detector.kev_per_channel, 1e3 * detector.offset_kev
            energy = io.Axis("energy", detector.channels, scale, offset, "eV")
            signal = io.Signal(stacked(spectra), (*axes, energy), "events")
        return io.Dataset({"adf": io.Signal(np.array(images), axes), kind: signal})


def stacked(frames: Sequence[SparseSI]) -> SparseSI:
    """Return frames of events as one series."""
    ends = np.cumsum([0, *(len(frame.channel) for frame in frames)])
    offset = np.concatenate([[0], *(f.offset[1:] + end for f, end in zip(frames, ends[:-1], strict=True))])
    channel = np.concatenate([frame.channel for frame in frames])
    count = np.concatenate([frame.count for frame in frames])
    return SparseSI((len(frames), *frames[0].shape), frames[0].dtype, offset, channel, count)


def gray(data: NDArray[np.float64], pixel_nm: float) -> Image.Image:
    """Return a panel with a scale bar."""
    return pictures.gray(data, size=SIDE, nm_per_pixel=pixel_nm)


def clear(found: register.Accumulated, image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the part of an image that every frame covers."""
    inner = found.common_region
    rows, columns = np.flatnonzero(inner.any(axis=1)), np.flatnonzero(inner.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def correlation(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the correlation coefficient of two maps."""
    return float(np.corrcoef(one.ravel(), two.ravel())[0, 1])


def fixed_dose() -> list[Panel]:
    """Test 1: the same electrons in one slow or in ten fast frames."""
    damage = simulate.Damage(5e7, 5e7, {"O": 0.6}, mixing_nm=0.15, recovery_s=5e-3, excited_dose=4e5)
    panels: list[Panel] = []
    for frames, dwell, name in ((1, 10e-3, "one frame, 10 ms"), (10, 1e-3, "ten frames, 1 ms")):
        scope = Microscope("oxide_interface", (80, 80), 0.05, dwell, 74.0, (3e-3, -2e-3), 0.012, damage, seed=1)
        series = scope.frames(frames, "eels")
        adf, eels = (np.asarray(series.signals[key].data) for key in ("adf", "eels"))
        if frames == 1:
            image, total = adf[0].astype(float), eels[0].astype(float)
            found = multiframe.measure_maps([TI], sum_of(eels[0]), CAMERA.energy_ev)["Ti"]
        else:
            result = multiframe.process_series(series, maps=[TI], components=False)
            assert result.spectra is not None
            image, total, found = result.mean, result.spectra.data, result.maps["Ti"]
            inner = result.alignment.common_region
            image, total = np.where(inner, image, np.nan), np.where(inner[..., None], total, np.nan)
        oxygen = float(np.nansum(total[..., 132:160]) / np.nansum(total[..., 10:50]))
        say(
            f"1: {name}: {frames * scope.dose:.3g} e/Å² in all, {scope.electrons:.3g} e per visit, damage "
            f"{scope.extent:.2f}, Ti SNR {found.snr:.2f}, O-K over background {oxygen:.4f}"
        )
        panels += [
            (gray(image, scope.pixel_nm), [name, f"damage {scope.extent:.2f} at the end"]),
            (gray(found.data, scope.pixel_nm), ["Ti L", f"{scope.electrons:.2g} e per visit"]),
        ]
    return panels


def sum_of(spectra: NDArray[np.uint32]) -> register.Accumulated:
    """Return one frame as a sum of one frame."""
    running = register.Accumulator(spectra.shape[:2], spectra.shape[2])
    running.add(spectra, np.zeros((spectra.shape[0], 2)))
    return running.result()


def super_resolution() -> list[Panel]:
    """Test 2: eight coarse frames, signal-to-noise ratio and four times finer pixels."""
    scope = Microscope("oxide_interface", (60, 60), 0.067, 1e-3, 20.0, (6e-3, -4e-3), 0.02, seed=2)
    series = scope.frames(8, "eels")
    coarse = multiframe.process_series(series, maps=[TI, OXYGEN], components=False)
    fine = multiframe.process_series(series, maps=[TI, OXYGEN], components=False, upsample=4)
    assert fine.spectra is not None
    single = multiframe.measure_maps([TI], sum_of(np.asarray(series.signals["eels"].data)[0]), CAMERA.energy_ev)["Ti"]
    dose, snr = coarse.snr["Ti"].T
    slope = np.polyfit(np.log(dose), np.log(snr), 1)[0]
    say(f"2: SNR of Ti {snr[0]:.2f} after one frame, {snr[-1]:.2f} after eight; grows as dose to the {slope:.2f}")
    curve = pictures.curve(dose, snr, x_label="frames", y_label="SNR of Ti", size=(SIDE, SIDE))
    return [
        (
            gray(np.asarray(series.signals["adf"].data)[0].astype(float), 0.067),
            ["ADF, one frame", "0.067 nm per pixel"],
        ),
        (gray(single.data, 0.067), ["Ti, one frame", f"SNR {single.snr:.2f} per pixel"]),
        (gray(clear(fine.image, fine.mean), 0.067 / 4), ["ADF, eight frames, x 4", "aligned line by line"]),
        (gray(clear(fine.spectra, fine.maps["Ti"].data), 0.067 / 4), ["Ti, eight frames, x 4", "net counts"]),
        (gray(clear(fine.spectra, fine.maps["O"].data), 0.067 / 4), ["O, eight frames, x 4", "net counts"]),
        (curve, ["SNR against dose", f"as the power {slope:.2f} of the dose"]),
    ]


def motifs() -> list[Panel]:
    """Test 3: EDX with 17 pA, sixty frames, averaged over the repeats of two cells of SrTiO3."""
    scope = Microscope("oxide_interface", (100, 100), 0.056, 1e-3, 17.0, (1e-3, -5e-4), 0.012, seed=3)
    series = scope.frames(60, "eds")
    result = multiframe.process_series(series, components=False)
    assert result.spectra is not None
    size = 14  # two cells of SrTiO3; the upper half of the field is that
    places = register.find_motif(
        result.alignment, result.alignment.mean[20 : 20 + size, 40 : 40 + size], 0.6, visible=0.9
    )
    upper = places.y < 42  # those of LaMnO3 look alike
    places = dataclasses.replace(
        places, **{name: getattr(places, name)[upper] for name in ("frame", "y", "x", "angle_deg", "score")}
    )
    spectra = series.signals["eds"].data
    average = register.average_motif(
        places, [frame_of(spectra, k) for k in range(60)], result.alignment, size, upsample=4
    )
    energy = series.signals["eds"].axes[-1].coordinates
    windows = {"Sr": (1720.0, 1900.0), "Ti": (4380.0, 4640.0)}
    x_rays = {name: (energy >= low) & (energy < high) for name, (low, high) in windows.items()}
    panels: list[Panel] = []
    say(f"3: {average.count} copies in {average.frames} frames, {scope.dose:.3g} e/Å² per frame")
    for name, chosen in x_rays.items():
        first = frame_of(spectra, 0).to_dense()[..., chosen].sum(axis=-1).astype(float)
        total = result.spectra.data[..., chosen].sum(axis=-1)
        motif = average.data[..., chosen].sum(axis=-1) / average.coverage
        per_nm2 = [float(a.mean()) / scope.pixel_nm**2 for a in (first, total)]
        per_nm2.append(float(average.data[..., chosen].sum()) / (size * scope.pixel_nm) ** 2)
        say(f"   {name}: {per_nm2[0]:.2g}, {per_nm2[1]:.3g}, {per_nm2[2]:.3g} X-rays per nm²")
        panels += [
            (gray(first, scope.pixel_nm), [f"{name}, one frame", f"{per_nm2[0]:.2g} X-rays per nm^2"]),
            (
                gray(clear(result.spectra, total), scope.pixel_nm),
                [f"{name}, 60 frames", f"{per_nm2[1]:.3g} X-rays per nm^2"],
            ),
            (gray(motif[2:-2, 2:-2], scope.pixel_nm / 4), [f"{name}, motif", f"{per_nm2[2]:.3g} X-rays per nm^2"]),
        ]
    return panels


def frame_of(series: SparseSI, k: int) -> SparseSI:
    """Return frame k of a series of events."""
    pixels = series.shape[1] * series.shape[2]
    offset = series.offset[k * pixels : (k + 1) * pixels + 1]
    entries = slice(offset[0], offset[-1])
    return SparseSI(series.shape[1:], series.dtype, offset - offset[0], series.channel[entries], series.count[entries])


def components() -> list[Panel]:
    """Test 4: how many components stand above the noise, against dose."""
    scope = Microscope("oxide_interface", (64, 64), 0.0625, 1e-3, 2.0, (1e-3, -1e-3), 0.012, seed=4)
    result = multiframe.process_series(scope.frames(60, "eds"), bin_channels=4)
    counted = [(count.frames * scope.dose, count.n) for count in result.components]
    before = None
    for dose, n in counted:
        if n != before:
            say(f"4: {n if n is not None else 'not to be told'} components from {dose:.3g} e/Å² on")
        before = n
    dose = np.array([d for d, _ in counted])
    n = np.array([np.nan if m is None else m for _, m in counted])
    curve = pictures.curve(
        np.log10(dose),
        n,
        x_label="log10 of dose in electrons per square angstrom",
        y_label="components",
        size=(2 * SIDE, SIDE),
    )
    return [(curve, ["Components above noise", "the mean spectrum included"])]


def data_rates() -> None:
    """Test 5: bytes of a frame, as recorded and as stored."""
    scope = Microscope("srtio3", (200, 200), 0.056, 1e-3, 17.0, seed=5)
    frame = scope.eds.events(scope.content(), scope.electrons, scope.shape)
    dense = frame.to_dense()
    raw, zipped = dense.astype(np.uint32).nbytes, len(zlib.compress(dense.astype(np.uint32).tobytes(), 6))
    ours = len(codec.encode_events(frame))
    filled = len(frame.count) / dense.size
    say(
        f"5: EDX, {100 * filled:.3f} % filled: {raw / 1e3:.0f} kB, {zipped / 1e3:.0f} kB zipped, {ours / 1e3:.1f} kB "
        f"as events, {raw / ours:.0f} times smaller than raw and {zipped / ours:.1f} than zipped"
    )
    scope = Microscope("oxide_interface", (60, 94), 0.067, 1e-3, 110.0, seed=6)
    spectra = scope.eels.spectra(scope.content(), scope.electrons).reshape(60, 94, -1).astype(np.float32)
    zipped = len(zlib.compress(spectra.tobytes(), 6))
    blocks = [(400, 448, 12), (448, 484, 1), (484, 526, 6), (526, 564, 1), (564, 680, 12)]
    for name, block in (
        ("lossless", codec.encode_lossless(spectra)),
        ("within 0.5 sigma", codec.encode_eels(spectra, CAMERA.energy_ev, bound_sigma=0.5)),
        ("blocks", codec.encode_eels(spectra, CAMERA.energy_ev, blocks=blocks)),
    ):
        say(
            f"5: EELS, {name}: {len(block) / 1e3:.0f} kB of {spectra.nbytes / 1e3:.0f} kB, "
            f"{spectra.nbytes / len(block):.1f} times smaller; zipped {zipped / 1e3:.0f} kB"
        )


def main() -> None:
    """Make all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, panels, columns in (
        ("multi-frame-dose", fixed_dose(), 2),
        ("multi-frame-super-resolution", super_resolution(), 3),
        ("multi-frame-motif", motifs(), 3),
    ):
        compose(panels, columns).save(FOLDER / f"{name}.png", optimize=True)
    components()[0][0].save(FOLDER / "multi-frame-components.png", optimize=True)
    data_rates()


if __name__ == "__main__":
    main()
