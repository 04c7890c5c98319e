"""Diffraction patterns of grains, amorphous areas and strained crystals, disk by disk, with their truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks

Floats = NDArray[np.float64]

EDGE_PX = 1.2
"""Width over which the edge of a disk falls to zero, before it is sampled by pixels."""
SUBPIXELS = (-1 / 3, 0.0, 1 / 3)
"""Where the intensity is taken within a pixel, along each axis."""
RINGS = (((0.43, 0.06), (0.74, 0.1)), ((0.33, 0.06), (0.62, 0.1)), ((0.52, 0.06), (0.85, 0.1)))
"""Radius and width of the halos of amorphous phases, in halves of the detector."""


@dataclasses.dataclass(frozen=True, eq=False)
class Polycrystal:
    """A scan over grains: what is expected in each frame, and the truth about it; all arrays by flat position.

    Attributes
    ----------
    scan_shape, frame_shape : (int, int)
    radius_px : float
        Radius of a disk in px.
    matrix : ndarray, shape (2, 2)
        Distortion of the detector, (row, column): an undistorted vector times this one lies on the detector.
    ellipse : (float, float)
        Long over short axis, and the angle of the long axis from the columns towards the rows in degrees.
    center : ndarray, shape (positions, 2)
        Direct beam (row, column) in px.
    label : ndarray of int64, shape (y, x)
        Class: grains first, then amorphous phases.
    member : ndarray, shape (classes, y, x)
        Share of each class in the electrons of a position.
    strain : ndarray, shape (y, x, 4)
        exx, eyy, exy and rotation (rad).
    frame : ndarray of int64, shape (n,)
        Position of each disk; the disks of a position follow each other, the direct beam first.
    y, x, electrons : ndarray, shape (n,)
        Place in px and expected electrons of each disk.
    inside : ndarray, shape (n, 3)
        Gradient along rows and columns, and bowl, of each disk, relative.
    diffuse : ndarray, shape (positions, kinds)
        Expected electrons in the halo of the film (kind 0) and of each amorphous phase.
    bullseye : bool
        Whether the probe has rings.
    """

    scan_shape: tuple[int, int]
    frame_shape: tuple[int, int]
    radius_px: float
    matrix: Floats
    ellipse: tuple[float, float]
    center: Floats
    label: NDArray[np.int64]
    member: Floats
    strain: Floats
    frame: NDArray[np.int64]
    y: Floats
    x: Floats
    electrons: Floats
    inside: Floats
    diffuse: Floats
    bullseye: bool

    def expected(self, position: int) -> Floats:
        """Return the expected counts of a frame (ky, kx)."""
        first, last = np.searchsorted(self.frame, (position, position + 1))
        ky, kx = self.frame_shape
        reach = int(np.ceil(1.2 * self.radius_px + 2))
        image = np.zeros((ky + 4 * reach, kx + 4 * reach))
        offset = np.arange(-reach, reach + 1)
        for i in range(first, last):
            y, x = round(self.y[i]), round(self.x[i])
            if -reach <= y < ky + reach and -reach <= x < kx + reach:
                window = slice(y + reach, y + 3 * reach + 1), slice(x + reach, x + 3 * reach + 1)
                image[window] += self.disk(i, offset[:, None] + y, offset[None, :] + x)
        whole: Floats = image[2 * reach : -2 * reach, 2 * reach : -2 * reach]
        for kind, amount in enumerate(self.diffuse[position]):
            if amount > 0:
                whole = whole + amount * self._halo(kind, self.center[position])
        return whole

    def disk(self, i: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
        """Return the expected counts of a disk in pixels (rows, columns)."""
        back = np.linalg.inv(self.matrix)
        radius, (tilt_y, tilt_x, bowl) = self.radius_px, self.inside[i]
        total = np.zeros(np.broadcast_shapes(rows.shape, columns.shape))
        for sy in SUBPIXELS:
            for sx in SUBPIXELS:
                dy, dx = rows + sy - self.y[i], columns + sx - self.x[i]
                v, u = back[0, 0] * dy + back[0, 1] * dx, back[1, 0] * dy + back[1, 1] * dx
                r = np.hypot(v, u)
                soft = np.clip(0.5 - (r - radius) / EDGE_PX, 0, 1)
                if self.bullseye:
                    soft = soft * (1 + 0.8 * np.cos(3 * np.pi * r / radius))
                total += soft * np.maximum(
                    1 + (tilt_y * v + tilt_x * u) / radius + bowl * (2 * (r / radius) ** 2 - 1), 0
                )
        return np.asarray(total * self.electrons[i] / (len(SUBPIXELS) ** 2 * np.pi * radius**2))

    def frames(self, seed: int = 0) -> NDArray[np.uint16]:
        """Return counts (y, x, ky, kx) with the noise of counting."""
        rng = np.random.default_rng(seed)
        result = np.empty((self.scan_shape[0] * self.scan_shape[1], *self.frame_shape), np.uint16)
        for position in range(len(result)):
            result[position] = rng.poisson(self.expected(position))
        return result.reshape(*self.scan_shape, *self.frame_shape)

    def _halo(self, kind: int, center: Floats) -> Floats:
        """Return the diffuse intensity of a film (0) or an amorphous phase, sum 1."""
        ky, kx = self.frame_shape
        back, half = np.linalg.inv(self.matrix), min(self.frame_shape) / 2
        dy, dx = np.arange(ky)[:, None] - center[0], np.arange(kx)[None, :] - center[1]
        r = np.hypot(back[0, 0] * dy + back[0, 1] * dx, back[1, 0] * dy + back[1, 1] * dx) / half
        if kind == 0:
            image = 0.6 * np.exp(-r / 0.095) + 0.12 * np.exp(-(((r - 0.4) / 0.095) ** 2))
        else:
            (r1, w1), (r2, w2) = RINGS[(kind - 1) % len(RINGS)]
            image = np.exp(-(((r - r1) / w1) ** 2)) + 0.35 * np.exp(-(((r - r2) / w2) ** 2)) + 0.25 * np.exp(-r / 0.16)
        return np.asarray(image / image.sum(), np.float64)


def polycrystal(
    scan_shape: tuple[int, int] = (16, 16),
    frame_shape: tuple[int, int] = (96, 96),
    *,
    radius_px: float = 4.0,
    electrons: float = 5000.0,
    grains: int = 3,
    amorphous: int = 1,
    spacing_px: float = 17.0,
    ellipse: tuple[float, float] = (1.0, 0.0),
    descan_px: float = 1.0,
    structure: float = 0.35,
    film: float = 0.1,
    waves: float = 0.0,
    overlap: float = 0.0,
    bullseye: bool = False,
    strain: Callable[[Floats, Floats], Floats] | None = None,
    seed: int = 0,
) -> Polycrystal:
    """Make a scan over grains of random orientation beside amorphous areas, or over one strained crystal.

    Parameters
    ----------
    scan_shape, frame_shape : tuple of int
        ``(y, x)`` positions, ``(ky, kx)`` detector pixels.
    radius_px : float
        Radius of a disk in px.
    electrons : float
        Electrons per frame.
    grains, amorphous : int
        Number of grains, and of amorphous phases (at the right).
    spacing_px : float
        Length of the shortest reciprocal vector, in px.
    ellipse : (float, float)
        Long over short axis of the circles on the detector; angle of the long axis from the columns towards the rows
        in degrees.
    descan_px : float
        How far the direct beam moves over the scan.
    structure : float
        Spread of the relative gradients across disks; each reflection has its own.
    film : float
        Share of the electrons in the halo of an amorphous film on top of everything.
    waves : float
        Depth with which every reflection brightens and fades across a grain, 0 to 1.
    overlap : float
        Share of a second grain everywhere.
    bullseye : bool
        Give the disks rings.
    strain : callable, optional
        From positions across the scan (u along x, v along y, -0.5 to 0.5) to exx, eyy, exy and rotation in rad, last
        axis. The scan is one crystal then.
    seed : int
        Seed of grains, orientations and intensities.

    Returns
    -------
    Polycrystal

    Examples
    --------
    >>> from esteemcore import simulate
    >>> made = simulate.polycrystal((4, 4), (64, 64), grains=2, electrons=500)
    >>> made.frames().shape, made.member.shape
    ((4, 4, 64, 64), (3, 4, 4))
    """
    scan_shape, frame_shape = checks.shape_2d("scan_shape", scan_shape), checks.shape_2d("frame_shape", frame_shape)
    rng = np.random.default_rng(seed)
    if strain is not None:
        grains, amorphous = 1, 0
    ny, nx = scan_shape
    y, x = np.mgrid[:ny, :nx]
    v, u = y / max(ny - 1, 1) - 0.5, x / max(nx - 1, 1) - 0.5
    label, member = _areas(v, u, grains, amorphous, overlap, rng)
    deformation = np.zeros((ny, nx, 4)) if strain is None else np.asarray(strain(u, v), np.float64)
    slope = rng.uniform(-1, 1, (2, 2))
    slope *= descan_px / np.abs(slope).sum(axis=1).max()
    middle = np.array(frame_shape) / 2 + (-0.4, 0.3)
    center = (middle + v[..., None] * slope[0] + u[..., None] * slope[1]).reshape(-1, 2)
    matrix = distortion(*ellipse)
    crystals = [_crystal(frame_shape, spacing_px, structure, rng) for _ in range(grains)]
    rows: list[Floats] = []
    for position in range(ny * nx):
        for kind in range(grains + amorphous):
            share = member[kind].reshape(-1)[position] * (1 - film) * electrons
            if share > 0:
                place = v.reshape(-1)[position], u.reshape(-1)[position]
                crystal = crystals[kind] if kind < grains else None
                rows.append(_disks(crystal, place, share, deformation.reshape(-1, 4)[position], waves))
                rows[-1][:, 1:3] = rows[-1][:, 1:3] @ matrix.T + center[position]
                rows[-1][:, 0] = position
    table = np.concatenate(rows)
    inside = ((table[:, 1:3] > -radius_px) & (table[:, 1:3] < np.array(frame_shape) - 1 + radius_px)).all(axis=1)
    table = table[inside]
    halos = [np.full(ny * nx, film * electrons)]
    halos += [0.55 * (1 - film) * electrons * member[grains + k].reshape(-1) for k in range(amorphous)]
    return Polycrystal(
        scan_shape, frame_shape, radius_px, matrix, ellipse, center, label, member, deformation,
        table[:, 0].astype(np.int64), table[:, 1], table[:, 2], table[:, 3], table[:, 4:7], np.stack(halos, axis=1),
        bullseye,
    )  # fmt: skip


def distortion(ratio: float, angle_deg: float) -> Floats:
    """Return the matrix (row, column) that makes ellipses of circles without changing their area."""
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.array([[s, c], [c, -s]])  # columns: long and short axis as (row, column)
    return np.asarray(turn @ np.diag([ratio**0.5, ratio**-0.5]) @ turn.T)


def _areas(
    v: Floats, u: Floats, grains: int, amorphous: int, overlap: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Return the label of each position and the share of each class, blended over one pixel."""
    wide = 0.72 if amorphous else 1.0
    seeds = rng.uniform((-0.5, -0.5), (0.5, wide - 0.5), (grains, 2))
    label = np.hypot(v[..., None] - seeds[:, 0], u[..., None] - seeds[:, 1]).argmin(axis=-1)
    if amorphous:
        band = np.minimum(((v + 0.5) * amorphous).astype(int), amorphous - 1)
        label = np.where(u > wide - 0.5 + 0.05 * np.sin(9 * v), grains + band, label)
    other = rng.permutation(grains)[np.minimum(label, grains - 1)]
    member = np.zeros((grains + amorphous, *label.shape))
    for kind in range(grains + amorphous):
        wider = np.pad((label == kind).astype(float), 1, mode="edge")
        ny, nx = label.shape
        member[kind] = sum(wider[i : i + ny, j : j + nx] for i in range(3) for j in range(3)) / 9
    member[(member < 0.35) & (member < member.max(axis=0))] = 0
    member /= member.sum(axis=0)
    if overlap:
        crystal = label < grains
        member[:, crystal] *= 1 - overlap
        row, column = np.nonzero(crystal)
        member[other[crystal], row, column] += overlap
    return label.astype(np.int64), member


def _crystal(
    frame_shape: tuple[int, int], spacing_px: float, structure: float, rng: np.random.Generator
) -> dict[str, Floats]:
    """Return the reflections of a grain seen along a random zone: places, strengths, inside, waves."""
    ratio, angle = ((1.0, 90.0), (2**0.5, 90.0), (1.0, 60.0))[rng.integers(3)]
    turn = rng.uniform(0, 2 * np.pi)
    along = spacing_px * rng.uniform(1.0, 1.15) * np.array([np.sin(turn), np.cos(turn)])
    turn += np.deg2rad(angle)
    across = ratio * np.linalg.norm(along) * np.array([np.sin(turn), np.cos(turn)])
    n = int(max(frame_shape) / spacing_px) + 1
    index = np.stack(np.meshgrid(np.arange(-n, n + 1), np.arange(-n, n + 1), indexing="ij"), -1).reshape(-1, 2)
    index = index[np.argsort(np.abs(index).sum(axis=1), kind="stable")]
    place = index @ np.stack([along, across])
    far = np.linalg.norm(place, axis=1)
    near = far < 0.55 * np.hypot(*frame_shape)
    place, far = place[near], far[near]
    strength = 0.08 * np.exp(-((far / (1.6 * spacing_px)) ** 2) / 2) * rng.lognormal(0, 0.4, len(far))
    strength[0] = 1
    inside = rng.normal(0, structure, (len(far), 3)) * (1, 1, 0.5)
    wave = np.concatenate([rng.uniform(-2.5, 2.5, (len(far), 2)), rng.uniform(0, 2 * np.pi, (len(far), 1))], axis=1)
    return {"place": place, "strength": strength, "inside": inside, "wave": wave}


def _disks(
    crystal: dict[str, Floats] | None, place: tuple[float, float], share: float, strain: Floats, waves: float
) -> Floats:
    """Return the disks of a crystal, or the beam through an amorphous area: position, place, electrons, inside."""
    if crystal is None:
        return np.array([[0, 0, 0, 0.45 * share, 0, 0, 0]], np.float64)
    exx, eyy, exy, rotation = strain
    gradient = np.array([[1 + eyy, exy + rotation], [exy - rotation, 1 + exx]])  # of the displacement, (row, column)
    strength = crystal["strength"].copy()
    if waves:
        phase = crystal["wave"][:, 2] + 2 * np.pi * crystal["wave"][:, :2] @ np.array(place)
        strength[1:] *= np.maximum(1 + 1.4 * waves * np.cos(phase[1:]), 0.08)
    rows = np.zeros((len(strength), 7))
    rows[:, 1:3] = crystal["place"] @ np.linalg.inv(gradient)
    rows[:, 3] = share * strength / strength.sum()
    rows[:, 4:] = crystal["inside"]
    return rows
