"""Make the pictures of the tutorial on diffraction, and print its figures: docs/tutorials/diffraction-to-claims.md.

``python -m scripts.diffraction_tutorial [FOLDER]``: two minutes; needs Matplotlib, which the extra ``diffraction``
brings. The scans are simulated, with fixed seeds. FOLDER holds the real file ``test1.blo``; without it that part is
left out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from esteemcore import diffraction, io, simulate
from esteemcore.errors import EsteemError
from scripts.multi_frame_study import say

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SHAPE, FRAME, RADIUS, GRAINS = (32, 32), (128, 128), 4.5, 5
STEP_NM, PIXEL_PER_NM, ENERGY_KEV = 5.0, 0.2, 200.0
"""Step of the scan, size of a detector pixel and energy that the simulated scan is said to have."""
COLOURS = np.array([pyplot.get_cmap("Set2")(k)[:3] for k in range(8)])


def scan(electrons: float) -> simulate.Polycrystal:
    """Return five grains of uneven thickness and an amorphous area on an elliptical detector, with descan."""
    return simulate.polycrystal(
        SHAPE, FRAME, radius_px=RADIUS, electrons=electrons, grains=GRAINS, descan_px=4.0, waves=0.5,
        ellipse=(1.04, 30.0), spacing_px=18.0, seed=11,
    )  # fmt: skip


def bend(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a strain along x that rises by 2 % across the scan, with a turn of the lattice along y."""
    return np.stack([0.02 * u, 0 * u, 0 * u, 0.01 * v], axis=-1)


def main() -> None:
    """Make what can be made."""
    mpl.use("agg")
    disks_and_classes()
    strains()
    doses()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    if (folder / "test1.blo").exists():
        real(folder / "test1.blo")
    else:
        say(f"left out: {folder / 'test1.blo'} is not there")


def save(figure: Figure, name: str) -> None:
    """Write a picture with few colours, which is small."""
    path = FOLDER / name
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    Image.open(path).convert("RGB").quantize(128, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    say(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def bar(axis: Axes, length_px: float, text: str, colour: str = "black") -> None:
    """Draw a scale bar into the lower left corner of an image."""
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    x, y = left + 0.05 * (right - left), bottom + 0.06 * (top - bottom)
    axis.plot([x, x + length_px], [y, y], color=colour, linewidth=3, solid_capstyle="butt")
    axis.text(
        x, y + 0.03 * (top - bottom), text, color=colour, ha="left", va="bottom", fontsize=8,
        bbox={"facecolor": "white" if colour == "black" else "black", "alpha": 0.7, "linewidth": 0, "pad": 1},
    )  # fmt: skip


def frame(axis: Axes, data: NDArray[Any], title: str) -> None:
    """Show a diffraction pattern, dark where it is bright."""
    axis.imshow(np.sqrt(np.maximum(data, 0)), cmap="gray_r", vmax=np.sqrt(np.percentile(data, 99.7)) + 0.5)
    axis.set(title=title, xticks=[], yticks=[])


def image(axis: Axes, data: NDArray[Any], title: str, **options: Any) -> Any:
    """Show a map with its scale bar."""
    shown = axis.imshow(data, **options)
    axis.set(title=title, xticks=[], yticks=[])
    bar(axis, 40 / STEP_NM, "40 nm")
    return shown


def figure(columns: int, height: float = 3.4, **options: Any) -> tuple[Figure, Any]:
    """Return a row of panels."""
    mpl.rcParams.update({"axes.titlesize": 9, "font.size": 8})
    return pyplot.subplots(1, columns, figsize=(10.2, height), layout="constrained", **options)


def disks_and_classes() -> None:
    """Find disks, calibrate, classify, and compare with the truth."""
    truth = scan(3000)
    frames = truth.frames(seed=1)
    descan = diffraction.find_descan(frames, RADIUS)
    ellipse = diffraction.fit_ellipse(frames)
    disks = diffraction.find_disks(frames, RADIUS, distortion=ellipse.matrix)
    origin = descan.center.reshape(-1, 2)
    off = np.hypot(*(origin - truth.center).T)
    say(f"descan {descan.span_px:.1f} px, off the truth by {off.mean():.2f} px on average")
    say(f"ellipse {ellipse.ratio:.4f} +- {ellipse.ratio_sigma:.4f} at {ellipse.angle_deg:.1f} deg; true 1.04 at 30")
    say(f"{len(disks) / np.prod(SHAPE):.1f} disks per frame, median error {np.nanmedian(disks.sigma_px):.2f} px")
    classes = diffraction.classify(frames, RADIUS, disks=disks, ellipse=ellipse)
    say(f"{len(classes)} classes: {classes.reason}")
    say(f"notes: {classes.notes}")
    grains = diffraction.segment_dark_field(disks, SHAPE, FRAME, RADIUS)
    sure = truth.member.max(axis=0) > 0.99
    say(
        f"index of the classes {adjusted_rand_score(truth.label[sure], classes.labels[sure]):.3f}, {len(grains)} grains"
    )
    sure &= truth.label < GRAINS
    say(f"{len(grains)} grains, index {adjusted_rand_score(truth.label[sure], grains.labels[sure]):.3f}")
    say(f"agreement {classes.agreement:.2f}, {(classes.confidence < 0.7).mean():.0%} of the confidences below 0.7")

    known = int(classes.labels[classes.confidence > 0.95][0])
    size = calibrated(truth, disks, classes, known, ellipse)
    show_disks(frames, disks, origin, size)
    show_classes(classes, grains)


def calibrated(
    truth: simulate.Polycrystal, disks: diffraction.DiskTable, classes: diffraction.Classes, known: int,
    ellipse: diffraction.Ellipse,
) -> diffraction.PixelSize:  # fmt: skip
    """Return the size of a pixel from the disks of one class, whose lattice planes are taken for known."""
    mine = (classes.labels == known) & (classes.confidence > 0.9)
    grain = int(np.bincount(truth.label[mine]).argmax())
    pure = np.flatnonzero(truth.member[grain].ravel() > 0.99)
    rows = np.isin(truth.frame, pure)
    place = np.stack([truth.y, truth.x], axis=1) - truth.center[truth.frame]
    length = np.hypot(*(place[rows] @ np.linalg.inv(truth.matrix).T).T)
    planes = 1 / (PIXEL_PER_NM * np.unique(length[length > 1].round(5)))
    of_class = disks.select(mine.ravel()[disks.frame])
    size = diffraction.pixel_size(
        of_class, SHAPE, planes, beam_energy_kev=ENERGY_KEV, distortion=ellipse, rough_per_nm=1.1 * PIXEL_PER_NM
    )
    say(
        f"class {known}: {size.per_nm:.5f} +- {size.per_nm_sigma:.5f} 1/nm per px (true {PIXEL_PER_NM}), or "
        f"{size.mrad:.4f} +- {size.mrad_sigma:.4f} mrad, {size.reflections.sum()} reflections, notes {size.notes}"
    )
    return size


def show_disks(
    frames: NDArray[Any], disks: diffraction.DiskTable, origin: NDArray[Any], size: diffraction.PixelSize
) -> None:
    """Draw the mean frame, a frame with its disks, and the Bragg-vector map with rings of known planes."""
    drawn, axes = figure(3)
    frame(axes[0], frames.mean(axis=(0, 1)), "mean of all frames, as they lie on the detector")
    k = int(np.bincount(disks.frame).argmax())
    frame(axes[1], frames.reshape(-1, *FRAME)[k], f"one frame, {frames.reshape(-1, *FRAME)[k].sum()} electrons, disks")
    mine = disks.frame == k
    axes[1].scatter(
        disks.x[mine], disks.y[mine], s=110, facecolors="none", edgecolors="tab:orange", label="found", linewidths=1
    )
    axes[1].legend(loc="upper right", fontsize=7)
    vectors = diffraction.bragg_vector_map(disks, FRAME, oversampling=2, origin=origin)
    axes[2].imshow(np.sqrt(vectors), cmap="gray_r", vmax=6, extent=(-0.5, FRAME[1] - 0.5, FRAME[0] - 0.5, -0.5))
    axes[2].set(title="Bragg-vector map, descan taken out", xticks=[], yticks=[])
    angle = np.linspace(0, 2 * np.pi, 200)
    circle = np.stack([np.sin(angle), np.cos(angle)])
    for plane in size.spacings_nm[size.reflections > 0][:3]:
        y, x = size.matrix @ circle / plane / size.per_nm + FRAME[0] // 2
        axes[2].plot(x, y, color="tab:blue", linewidth=0.8, label="known planes of one grain")
    axes[2].legend(*(a[:1] for a in axes[2].get_legend_handles_labels()), loc="upper right", fontsize=7)
    for axis in axes:
        bar(axis, 4 / size.per_nm, "4 /nm")
    save(drawn, "diffraction-disks.png")


def show_classes(classes: diffraction.Classes, grains: diffraction.DarkFieldGrains) -> None:
    """Draw the classes, how sure they are, and the grains by dark-field images."""
    drawn, axes = figure(3)
    coloured = np.where(classes.labels[..., None] >= 0, COLOURS[classes.labels % 8], 0)
    image(axes[0], coloured, "classes of whole patterns")
    names = [f"{k}: {kind}" for k, kind in enumerate(classes.kinds)]
    axes[0].legend(
        handles=[Patch(color=COLOURS[k], label=name) for k, name in enumerate(names)], fontsize=6, loc="upper right"
    )
    shown = image(axes[1], classes.confidence, "confidence of the class", cmap="gray", vmin=0, vmax=1)
    drawn.colorbar(shown, ax=axes[1], shrink=0.8)
    coloured = np.where(grains.labels[..., None] >= 0, COLOURS[grains.labels % 8], 0)
    image(axes[2], coloured, "grains by dark-field images; black: none")
    save(drawn, "diffraction-classes.png")
    drawn, axes = figure(len(classes), 2.1)
    for k, axis in enumerate(axes):
        frame(axis, np.nan_to_num(classes.patterns[k]), f"class {k}, {classes.areas[k]} positions")
        bar(axis, 4 / PIXEL_PER_NM, "4 /nm")
    save(drawn, "diffraction-patterns.png")


def strained(electrons: float) -> tuple[simulate.Polycrystal, diffraction.Strain]:
    """Return a strained crystal and its maps relative to the middle columns."""
    truth = simulate.polycrystal(SHAPE, FRAME, radius_px=RADIUS, electrons=electrons, strain=bend, seed=3)
    disks = diffraction.find_disks(truth.frames(seed=2), RADIUS)
    reference = np.zeros(SHAPE, bool)
    reference[:, 14:18] = True
    return truth, diffraction.strain(disks, SHAPE, reference)


def strains() -> None:
    """Draw the strain of a bent crystal, its error, and a profile beside the truth."""
    truth, found = strained(3000)
    drawn, axes = figure(3)
    shown = image(axes[0], 100 * found.exx, "exx in %, 3,000 electrons", cmap="RdBu_r", vmin=-1.5, vmax=1.5)
    drawn.colorbar(shown, ax=axes[0], shrink=0.8)
    sigma = 100 * found.component_sigma[..., 0]
    shown = image(axes[1], sigma, "standard error of exx in %", cmap="gray", vmin=0)
    drawn.colorbar(shown, ax=axes[1], shrink=0.8)
    row = SHAPE[0] // 2
    x = STEP_NM * np.arange(SHAPE[1])
    axes[2].errorbar(
        x, 100 * found.exx[row], yerr=2 * sigma[row], fmt=".", color="tab:blue", linewidth=0.8,
        label="found, 2 standard errors",
    )  # fmt: skip
    zero = truth.strain[:, 14:18, 0].mean()
    axes[2].plot(x, 100 * (truth.strain[row, :, 0] - zero), color="black", linewidth=1, label="true")
    axes[2].set(title="along the middle row", xlabel="x in nm", ylabel="exx in %")
    axes[2].legend(fontsize=7)
    save(drawn, "diffraction-strain.png")


def doses() -> None:
    """Print what is found of the same specimens at several doses."""
    for electrons in (20000, 3000, 1000, 300):
        truth = scan(electrons)
        frames = truth.frames(seed=1)
        disks = diffraction.find_disks(frames, RADIUS)
        classes = diffraction.classify(frames, RADIUS, disks=disks)
        grains = diffraction.segment_dark_field(disks, SHAPE, FRAME, RADIUS)
        sure = truth.member.max(axis=0) > 0.99
        index = adjusted_rand_score(truth.label[sure], classes.labels[sure])
        sure &= truth.label < GRAINS
        mine = adjusted_rand_score(truth.label[sure], grains.labels[sure])
        text = (
            f"{electrons} e: {len(disks) / np.prod(SHAPE):.1f} disks per frame, {np.nanmedian(disks.sigma_px):.2f} px; "
        )
        text += f"{len(classes)} classes, index {index:.3f}; {len(grains)} grains, index {mine:.3f}; "
        try:
            bent, found = strained(electrons)
        except EsteemError as error:
            say(f"{text}strain: {error}")
            continue
        off = found.exx - (bent.strain[..., 0] - bent.strain[:, 14:18, 0].mean())
        error = np.sqrt(np.nanmean(off**2)), np.sqrt(np.nanmean(found.component_sigma[..., 0] ** 2))
        say(f"{text}exx off by {error[0]:.2e}, says {error[1]:.2e}, none at {np.isnan(off).mean():.0%}")


def real(path: Path) -> None:
    """See what six frames of a precession map tell, and what they do not."""
    frames = np.asarray(io.load(path).signals["frames"].data)
    full = (frames == frames.max()).all(axis=(0, 1))  # only the direct beam is
    center = ndimage.center_of_mass(full)
    mask = ~ndimage.binary_dilation(full, iterations=6)
    mean, variance = frames.mean(axis=(0, 1)), frames.reshape(-1, *full.shape).var(axis=0, ddof=1)
    grays = mask & (mean > 40) & (mean < 200)
    gain = float(variance[grays].sum() / mean[grays].sum())
    say(f"{frames.shape}, {full.sum()} pixels saturated, variance over mean {gain:.3f}")
    counted = diffraction.find_disks(frames, 2.4, center=center, mask=mask)
    disks = diffraction.find_disks(frames / gain, 2.4, center=center, mask=mask)
    shape = frames.shape[:2]
    say(f"disks per frame: {counted.per_position(shape).ravel()}, scaled {disks.per_position(shape).ravel()}")
    for name, work in (
        ("classify", lambda: diffraction.classify(frames, 2.4)),
        ("strain", lambda: diffraction.strain(disks, shape, center=center)),
        ("pixel_size", lambda: diffraction.pixel_size(disks, shape, 0.408 / np.sqrt([3, 4, 8, 11, 12]), center=center)),
    ):
        try:
            say(f"{name}: {work()}")
        except EsteemError as error:
            say(f"{name} refuses: {error}")
    scatter, stated = reproduced(disks, np.array(center), int(np.prod(shape)))
    say(f"scatter {np.round(scatter, 2)} px where {np.round(stated, 2)} px are stated")
    drawn, axes = figure(3)
    frame(axes[0], frames[0, 0], "one frame of test1.blo")
    mine = disks.frame == 0
    axes[0].scatter(
        disks.x[mine], disks.y[mine], s=60, facecolors="none", edgecolors="tab:orange", label="found", linewidths=1
    )
    axes[0].legend(loc="upper right", fontsize=7)
    vectors = diffraction.bragg_vector_map(disks, full.shape, oversampling=2)
    axes[1].imshow(vectors > 0, cmap="gray_r", extent=(-0.5, full.shape[1] - 0.5, full.shape[0] - 0.5, -0.5))
    axes[1].plot(center[1], center[0], "+", color="tab:blue", label="direct beam, saturated")
    axes[1].set(title="places of the disks of all six frames", xticks=[], yticks=[])
    axes[1].legend(loc="upper right", fontsize=7)
    for axis in axes[:2]:
        bar(axis, 20, "20 px")
    axes[2].plot(stated, scatter, "o", color="tab:blue")
    line = np.array([0.0, 1.1 * stated.max()])
    axes[2].plot(line, line, color="black", linewidth=0.8, label="as stated")
    axes[2].set(title="reflections seen in all frames", xlabel="error that is stated in px", ylabel="scatter in px")
    axes[2].legend(fontsize=7)
    save(drawn, "diffraction-real.png")


def reproduced(
    disks: diffraction.DiskTable, center: NDArray[np.float64], positions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scatter along one axis and stated error of the reflections that every frame shows once."""
    place = np.stack([disks.y, disks.x], axis=1) - center
    scatter, stated = [], []
    for first in place[disks.frame == 0]:
        near = np.hypot(*(place - first).T) < 2
        if len(np.unique(disks.frame[near])) == near.sum() == positions:
            scatter.append(np.sqrt(place[near].var(axis=0, ddof=1).mean()))
            stated.append(np.sqrt(np.mean(disks.sigma_px[near] ** 2)))
    return np.array(scatter), np.array(stated)


if __name__ == "__main__":
    main()
