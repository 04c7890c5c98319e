"""A face-centred cubic crystal, kinematically: templates and disks of any orientation, without other libraries."""

from __future__ import annotations

import functools
import itertools

import numpy as np
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, optics

LATTICE_NM = 0.408
REACH_PER_NM = 16.0
CUBIC = Rotation.create_group("O")
BEAM_PER_NM = 1 / optics.wavelength_nm(200)


def quaternions(rotations: Rotation) -> np.ndarray:
    """Return (w, x, y, z)."""
    return np.roll(rotations.as_quat(), 1, axis=-1)


def reflections(distort: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the reciprocal vectors (x, y, z) of the crystal and what they scatter."""
    index = np.array(list(itertools.product(range(-7, 8), repeat=3)))
    odd = index % 2
    index = index[(odd == odd[:, :1]).all(axis=1) & (index != 0).any(axis=1)]
    vectors = index / LATTICE_NM @ (np.eye(3) if distort is None else distort)
    length = np.linalg.norm(vectors, axis=1)
    near = length < REACH_PER_NM
    return vectors[near], np.exp(-((length[near] / 9) ** 2))


GOLD = functools.cache(reflections)


def pattern(rotation: Rotation, crystal=None, thickness_nm: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """Return spots (row, column) in 1/nm and intensities; ``rotation`` takes the detector's axes to the crystal's."""
    vectors, scattered = GOLD() if crystal is None else crystal
    x, y, z = rotation.inv().apply(vectors).T
    excitation = BEAM_PER_NM - np.sqrt(BEAM_PER_NM**2 - x**2 - y**2) - z
    seen = np.abs(excitation) < 0.5
    intensity = scattered / (1 + (2 * thickness_nm * excitation) ** 2)
    return np.stack([y, x], axis=1)[seen], intensity[seen]


def library(step_deg: float = 2.0, crystals=None, names=("gold",)) -> diffraction.TemplateLibrary:
    """Return templates of the zone axes between [001], [011] and [111]."""
    rotations = []
    for tilt in np.radians(np.arange(0, 56, step_deg)):
        for turn in np.arange(0, 45.01, step_deg / max(np.sin(tilt), 0.02)):
            axis = np.array([np.sin(tilt) * np.sin(np.radians(turn)), np.sin(tilt) * np.cos(np.radians(turn)), 0])
            axis[2] = np.cos(tilt)
            if axis[0] <= axis[1] + 1e-9 <= axis[2] + 0.03:
                third = axis / np.linalg.norm(axis)
                first = np.cross([0, 1, 0], third)
                first /= np.linalg.norm(first)
                rotations.append(Rotation.from_matrix(np.stack([first, np.cross(third, first), third], axis=1)))
    crystals = [None] if crystals is None else crystals
    spots = [(number, r, *pattern(r, crystal)) for number, crystal in enumerate(crystals) for r in rotations]
    return diffraction.TemplateLibrary(
        np.concatenate([[0], np.cumsum([len(s[3]) for s in spots])]),
        np.concatenate([s[2] for s in spots]),
        np.concatenate([s[3] for s in spots]),
        np.array([quaternions(s[1]) for s in spots]),
        np.array([s[0] for s in spots]),
        names,
        (quaternions(CUBIC),) * len(names),
    )


def disks(rotations, pixel_per_nm: float = 0.3, rng=None, electrons: float = 3000.0, crystal=None, center=(64.0, 63.0)):
    """Return the disks of crystals, one position each, with counting noise if there is a generator."""
    frame, place, bright = [], [], []
    for k, rotation in enumerate(rotations):
        spots, intensity = pattern(rotation, crystal)
        count = electrons * intensity / intensity.sum()
        if rng is not None:
            count = rng.poisson(count)
            spots = spots + pixel_per_nm * rng.normal(0, 2 / np.sqrt(np.maximum(count, 1)))[:, None]
        kept = count > 20
        place.append(np.concatenate([[center], center + spots[kept] / pixel_per_nm]))
        bright.append(np.concatenate([[10 * electrons], count[kept]]))
        frame.append(np.full(len(bright[-1]), k))
    place, bright = np.concatenate(place), np.concatenate(bright)
    one = np.ones(len(bright))
    return diffraction.DiskTable(np.concatenate(frame), place[:, 0], place[:, 1], bright, 0.1 * one, 9 * one)


def angle_deg(quaternion: np.ndarray, true: Rotation) -> float:
    """Return the least angle between two orientations of a cubic crystal."""
    found = Rotation.from_quat(np.roll(quaternion, -1))
    return float(np.degrees((CUBIC * found * true.inv()).magnitude().min()))
