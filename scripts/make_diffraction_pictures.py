"""Make the pictures of orientations and of strain from fringes: docs/pictures/orientation_map.png, moire_strain.png.

``python scripts/make_diffraction_pictures.py``: some seconds; needs the extra ``diffraction`` (orix brings Matplotlib).
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffsims.generators.simulation_generator import SimulationGenerator
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from orix.crystal_map import Phase
from orix.plot import IPFColorKeyTSL
from orix.quaternion import Rotation
from PIL import Image
from scipy.special import erf

from esteemcore import diffraction

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
PIXEL = 0.03
MIDDLE = 64


def gold() -> Phase:
    """Return the phase."""
    cell = Structure([Atom("Au", [0, 0, 0])], Lattice(4.08, 4.08, 4.08, 90, 90, 90))
    return Phase("gold", space_group=225, structure=cell)


def save(figure: Figure, name: str) -> None:
    """Write a picture with few colours, which is small."""
    figure.savefig(FOLDER / name, dpi=80)
    Image.open(FOLDER / name).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(
        FOLDER / name, optimize=True
    )


def bar(axis: Axes, shape: tuple[int, int], length: int, text: str) -> None:
    """Draw a scale bar of a length in positions into the lower left corner of an image."""
    y, x = 0.93 * shape[0], 0.04 * shape[1]
    axis.plot([x, x + length], [y, y], color="black", linewidth=3, solid_capstyle="butt")
    axis.text(
        x + length / 2, y - 0.04 * shape[0], text, ha="center", va="bottom", fontsize=7,
        bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1},
    )  # fmt: skip


def specimen(shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return the grain of each position: a grain with a twin lamella, and a neighbour."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    lamella = np.abs(x - 0.6 * y - 10) < 5
    return np.where(x + 0.3 * y > 40, 2, lamella.astype(int))


def orientations() -> None:
    """Draw a frame with its template, the map, and the confidence."""
    rng = np.random.default_rng(3)
    shape = (32, 48)
    grains = specimen(shape).ravel()
    parent = Rotation.from_euler([20, 35, 70], degrees=True)
    means = [parent, Rotation.from_axes_angles([1, 1, 1], np.radians(60)) * parent]
    means.append(Rotation.from_euler([80, 20, 60], degrees=True))
    bend = np.radians(0.4) * rng.normal(size=(grains.size, 3))
    true = [means[g] * Rotation.from_axes_angles(v, np.linalg.norm(v)) for g, v in zip(grains, bend, strict=True)]
    patterns = SimulationGenerator(200).calculate_diffraction2d(
        gold().expand_asymmetric_unit(),
        Rotation(np.concatenate([r.data for r in true])),
        reciprocal_radius=1.6,
        with_direct_beam=False,
        max_excitation_error=0.05,
        shape_factor_width=0.02,
    )
    y, x = np.mgrid[: 2 * MIDDLE, : 2 * MIDDLE]
    frames = np.empty((grains.size, *y.shape), np.uint16)
    for k, spots in enumerate(patterns.coordinates):
        place = np.concatenate([[[0.0, 0.0]], spots.data[:, :2] / PIXEL]) + MIDDLE
        bright = 2000 * np.concatenate([[1.0], spots.intensity / spots.intensity.sum()])
        distance = np.hypot(x - place[:, 0, None, None], y - place[:, 1, None, None])
        mean = (bright[:, None, None] / 28 / (1 + np.exp(3 * (distance - 3)))).sum(axis=0)
        frames[k] = rng.poisson(mean + 0.02)
    library = diffraction.template_library(
        gold(), 200, resolution_deg=1.5, reach_per_nm=16, excitation_per_nm=0.5, thickness_nm=5
    )
    disks = diffraction.find_disks(frames.reshape(*shape, *y.shape), 3)
    found = diffraction.orientation(disks, shape, library, 10 * PIXEL)
    crystals = found.to_orix()
    colours = IPFColorKeyTSL(gold().point_group).orientation2color(crystals["gold"].orientations)
    figure, axes = pyplot.subplots(1, 3, figsize=(10.2, 2.9), layout="constrained", width_ratios=[1, 1.5, 1.5])
    k = (16, 5)
    axes[0].imshow(np.sqrt(frames.reshape(*shape, *y.shape)[k]), cmap="gray_r")
    turn = Rotation(found.rotations[k][0])
    template = SimulationGenerator(200).calculate_diffraction2d(
        gold().expand_asymmetric_unit(),
        turn,
        reciprocal_radius=1.6,
        with_direct_beam=False,
        max_excitation_error=0.05,
        shape_factor_width=0.02,
    )
    spots = template.coordinates.data[:, :2] / PIXEL + MIDDLE
    axes[0].scatter(*spots.T, s=90, facecolors="none", edgecolors="tab:orange", linewidths=1)
    axes[0].set_title("frame, template found", fontsize=9)
    axes[1].imshow(colours.reshape(*shape, 3))
    axes[1].set_title("zone axis (inverse pole figure colours)", fontsize=9)
    bar(axes[1], shape, 10, "10 positions")
    shown = axes[2].imshow(found.confidence, cmap="gray", vmin=0)
    axes[2].set_title("confidence", fontsize=9)
    figure.colorbar(shown, ax=axes[2], shrink=0.9)
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    save(figure, "orientation_map.png")


def fin() -> None:
    """Draw a moiré image of a strained fin, the strain, and a profile."""
    shape = (160, 280)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    column = np.arange(shape[1])
    profile = 0.006 * (erf((column - 100) / 15) - erf((column - 180) / 15))
    u = np.cumsum(profile)
    g = np.array([[0.93, 0.02], [-0.02, 0.93]])
    waves = [np.cos(2 * np.pi * (v[0] * y + v[1] * (x - u))) for v in g]
    image = np.random.default_rng(0).poisson(20 + 8 * (waves[0] + waves[1]))
    alias = np.rint(g)
    found = diffraction.moire_strain(image, g - alias, alias=alias, reference=x < 60, smoothing_px=10)
    figure, axes = pyplot.subplots(1, 3, figsize=(10.2, 2.5), layout="constrained")
    axes[0].imshow(image, cmap="gray")
    axes[0].set_title("moiré of lattice and scan, 20 counts", fontsize=9)
    bar(axes[0], shape, 50, "50 positions")
    shown = axes[1].imshow(100 * found.exx, cmap="RdBu_r", vmin=-1.5, vmax=1.5)
    axes[1].set_title("exx in %", fontsize=9)
    bar(axes[1], shape, 50, "50 positions")
    figure.colorbar(shown, ax=axes[1], shrink=0.8)
    row = shape[0] // 2
    axes[2].fill_between(
        column,
        100 * (found.exx - 2 * found.component_sigma[..., 0])[row],
        100 * (found.exx + 2 * found.component_sigma[..., 0])[row],
        color="tab:blue",
        alpha=0.3,
        label="found, 2 standard errors",
    )
    axes[2].plot(column, 100 * (1 / (1 - profile) - 1), color="black", linewidth=1, label="true")
    axes[2].set_title("along the middle row", fontsize=9)
    axes[2].set_xlabel("column in steps of the scan", fontsize=8)
    axes[2].set_ylabel("exx in %", fontsize=8)
    axes[2].set_ylim(-0.3, 1.8)
    axes[2].legend(fontsize=7, loc="upper right", ncols=2)
    axes[2].tick_params(labelsize=8)
    for axis in axes[:2]:
        axis.set_xticks([])
        axis.set_yticks([])
    save(figure, "moire_strain.png")


def main() -> None:
    """Make both."""
    mpl.use("agg")
    orientations()
    fin()


if __name__ == "__main__":
    main()
