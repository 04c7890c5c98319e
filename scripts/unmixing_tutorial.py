"""Make the pictures of the tutorial on unmixing, and print its figures: docs/tutorials/unmix-real-data.md.

``python -m scripts.unmixing_tutorial [FOLDER]``: half a minute. The needle is simulated, with a fixed seed. FOLDER
holds the real files ``SiO2_EDS_SI.hspy`` and ``velox_EELS_EDS.zip``; what is not there is left out.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from esteemcore import io, simulate, spectral
from esteemcore.cli import pictures
from esteemcore.cli.spectrum_image import pixel_nm
from scripts.make_pictures import FOLDER, GAP, SIDE, Panel, compose
from scripts.multi_frame_study import say

COUNTS = 5.0
"""Counts per pixel of the needle, where there is matter."""


def main() -> None:
    """Make what can be made."""
    needle().save(FOLDER / "unmixing-needle.png", optimize=True)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    for name, make in (("SiO2_EDS_SI.hspy", oxide), ("velox_EELS_EDS.zip", velox)):
        if (folder / name).exists():
            make(folder / name)
        else:
            say(f"left out: {folder / name} is not there")


def needle() -> Image.Image:
    """Show the maps of three lines, of three principal components and of three unmixed components, and the truth."""
    shape, specimen, detector = (96, 96), simulate.composition("needle"), simulate.EdsDetector()
    step_nm = 80 / shape[0]
    content = specimen.maps(shape, pixel_nm=step_nm)
    sampler = simulate.EdsSampler(specimen, detector, seed=3)
    expected = sampler.expected(content, 1.0).sum(axis=1).reshape(shape)
    matter = expected > 0.02 * expected.max()
    counts = sampler.events(content, COUNTS / expected[matter].mean(), shape)
    energy, dense = detector.energy_kev, counts.to_dense()
    rank = spectral.estimate_rank(counts, mask=matter)
    say(f"needle: {COUNTS:g} counts per pixel, {rank.n} components: {rank.reason}")
    found = spectral.unmix(counts, 3, mask=matter)
    scores = spectral.pca(counts, 3, noise="poisson", mask=matter).maps
    order = np.argsort([abs(energy[s.argmax()] - 0.85) + 9 * (energy[s.argmax()] > 1.5) for s in found.spectra])
    say(f"needle: {found.method}, {'; '.join(found.notes)}, peaks {energy[found.spectra.argmax(axis=1)].round(2)} keV")
    panels: list[Panel] = []
    for name, line in (("Ni L", 0.85), ("Cr L", 0.57), ("Si K", 1.74)):
        here = np.abs(energy - line) < 0.07
        panels.append(
            shown(
                dense[..., here].sum(axis=-1), step_nm, f"{name}, counts", f"{line - 0.07:.2f} to {line + 0.07:.2f} keV"
            )
        )
    for k in range(3):
        panels.append(shown(scores[k], step_nm, f"principal component {k + 1}", "either sign, no phase"))
    for k in order:
        peak = f"strongest line at {energy[found.spectra[k].argmax()]:.2f} keV"
        panels.append(shown(found.abundances[k], step_nm, "unmixed", peak))
    below = [
        pictures.curve(
            energy, 1e3 * found.spectra[k], x_label="energy, keV", y_label="spectrum, per 1000",
            size=(SIDE, 200),
        )
        for k in order
    ]  # fmt: skip
    return beneath(compose(panels, 3), below)


def oxide(path: Path) -> None:
    """Unmix the X-rays of silica particles."""
    signal = io.load(path).signals["EDS_Spectrum_Image"]
    energy, step_nm = axis(signal), pixel_nm(signal.axes)
    image = np.asarray(signal.data)
    rank = spectral.estimate_rank(image)
    say(
        f"SiO2: {image.sum()} counts, {image.sum() / image[..., 0].size:.0f} per pixel, {rank.n} components: "
        f"{rank.reason}"
    )
    found = {n: spectral.unmix(image, n) for n in (2, 3)}
    panels: list[Panel] = []
    for name, line in (("Si K", 1.77), ("Cu K", 8.09)):
        here = np.abs(energy - line) < 0.1
        panels.append(
            shown(
                image[..., here].sum(axis=-1), step_nm, f"{name}, counts", f"{line - 0.1:.2f} to {line + 0.1:.2f} keV"
            )
        )
    panels.append(shown(found[2].residual, step_nm, "left over, by pixel", "in units of its noise"))
    for n, result in found.items():
        for k in range(n):
            total = np.nansum(result.abundances[k])
            panels.append(
                shown(
                    result.abundances[k],
                    step_nm,
                    f"component {k + 1} of {n}",
                    f"{total / image.sum():.0%} of the counts",
                )
            )
            say(
                f"SiO2: {n}: {k + 1}: {total / image.sum():.2f} of the counts, "
                f"lines at {lines(energy, result.spectra[k])} keV"
            )
        say(f"SiO2: {n}: {'; '.join(result.notes)}")
    panels.append(shown(found[3].residual, step_nm, "left over of three", "in units of its noise"))
    low = energy < 10
    below = [
        pictures.curve(
            energy[low], 1e3 * found[2].spectra[k][low], x_label="energy, keV",
            y_label=f"component {k + 1} of 2, per 1000",
            size=(SIDE, 200),
        )
        for k in range(2)
    ]  # fmt: skip
    beneath(compose(panels, 3), below).save(FOLDER / "unmixing-sio2.png", optimize=True)


def velox(path: Path) -> None:
    """Unmix core losses of a Velox file, and see what its X-rays are."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        data = io.load(archive.extract(archive.namelist()[0], folder))
        losses = np.asarray(data.signals["EELS_2"].data)
        energy, step_nm = axis(data.signals["EELS_2"]), pixel_nm(data.signals["EELS_2"].axes)
        rays, kev = np.asarray(data.signals["EDS_7"].data), axis(data.signals["EDS_7"])
    rank = spectral.estimate_rank(rays)
    say(
        f"Velox EDS: {rays.sum()} counts, of which {rays[..., kev > 0.25].sum()} above 0.25 keV; {rank.n} components: "
        f"{rank.reason}"
    )
    above = spectral.estimate_rank(rays[..., kev > 0.25])
    say(f"Velox EDS above 0.25 keV: {above.n}: {above.reason}")
    rank = spectral.estimate_rank(losses)
    found = spectral.unmix(losses, 2)
    say(f"Velox EELS: {losses.shape}, {rank.n} components: {rank.reason}; {'; '.join(found.notes)}")
    three = spectral.unmix(losses, 3)
    say(f"Velox EELS with three: {'; '.join(three.notes)}")
    total = losses.sum(axis=-1)
    panels = [shown(total, step_nm, "all losses", f"{energy[0]:.0f} to {energy[-1]:.0f} eV")]
    panels += [shown(found.abundances[k] / total, step_nm, f"share of component {k + 1}", "of two") for k in range(2)]
    mean = losses.mean(axis=(0, 1)) / losses.mean(axis=(0, 1)).sum()
    middle = [s[1024:].mean() / s[:1024].mean() for s in found.spectra]
    say(f"Velox EELS: upper over lower half of the channels: {middle[0]:.3f} and {middle[1]:.3f}")
    below = [
        pictures.curve(
            energy, 100 * (found.spectra[k] / mean - 1), x_label="energy loss, eV",
            y_label=f"component {k + 1} over mean, %", size=(SIDE, 200),
        )
        for k in range(2)
    ]  # fmt: skip
    beneath(compose(panels, 3), below).save(FOLDER / "unmixing-velox.png", optimize=True)


def axis(signal: Any) -> NDArray[np.float64]:
    """Return the energies of the channels."""
    energy = signal.axes[-1]
    channels: NDArray[np.float64] = energy.offset + energy.scale * np.arange(signal.data.shape[-1])
    return channels


def lines(energy: NDArray[np.float64], spectrum: NDArray[np.float64], number: int = 4) -> list[float]:
    """Return the energies of the strongest peaks, 0.13 keV apart at least."""
    left, found = spectrum.copy(), []
    for _ in range(number):
        found.append(round(float(energy[left.argmax()]), 2))
        left[np.abs(energy - energy[left.argmax()]) < 0.13] = 0
    return found


def shown(values: NDArray[Any], step_nm: float | tuple[float, float] | None, *text: str) -> Panel:
    """Return a map with a scale bar, where the size of its pixels is known, and the lines above it."""
    return pictures.gray(values, size=SIDE, nm_per_pixel=step_nm), text


def beneath(sheet: Image.Image, below: Sequence[Image.Image]) -> Image.Image:
    """Return the sheet with further pictures in a row beneath it."""
    whole = Image.new("RGB", (sheet.width, sheet.height + below[0].height + GAP), pictures.BACKGROUND)
    whole.paste(sheet, (0, 0))
    for n, picture in enumerate(below):
        whole.paste(picture, (GAP + n * (SIDE + GAP), sheet.height))
    return whole


if __name__ == "__main__":
    main()
