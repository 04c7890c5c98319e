"""With diffsims and orix: libraries, maps for orix, and twins among clusters of orientations."""

from __future__ import annotations

import doctest
import importlib
import sys

import numpy as np
import pytest
from known_crystals import LATTICE_NM, angle_deg, disks, library, quaternions
from scipy.spatial.transform import Rotation

from esteemcore import diffraction, errors

PIXEL = 0.3


@pytest.fixture(scope="module")
def orix():
    pytest.importorskip("orix", reason="orix is not installed (extra diffraction)")
    return importlib.import_module("orix")


@pytest.fixture(scope="module")
def gold(orix):
    """Gold, all directions of the cube."""
    pytest.importorskip("diffsims", reason="diffsims is not installed (extra diffraction)")
    structure = importlib.import_module("diffpy.structure")
    edge = 10 * LATTICE_NM
    cell = structure.Structure([structure.Atom("Au", [0, 0, 0])], structure.Lattice(edge, edge, edge, 90, 90, 90))
    return importlib.import_module("orix.crystal_map").Phase("gold", space_group=225, structure=cell)


@pytest.fixture(scope="module")
def simulated(gold) -> diffraction.TemplateLibrary:
    return diffraction.template_library(
        gold, 200, resolution_deg=2, excitation_per_nm=0.5, thickness_nm=5, reach_per_nm=16
    )


def twin(rng) -> tuple[list[Rotation], np.ndarray]:
    """Return a grain, its twin (60 degrees about [111]), scattered orientations, and which is which."""
    parent = Rotation.from_euler("zyx", [15, 8, -20], degrees=True)
    partner = Rotation.from_rotvec(np.radians(60) / np.sqrt(3) * np.ones(3)) * parent
    which = np.array([0] * 24 + [1] * 18 + [2] * 6)
    wobble = Rotation.from_rotvec(np.radians(0.3) * rng.normal(size=(48, 3)))
    other = Rotation.random(48, random_state=11)
    return [((parent, partner, other[k])[w] * wobble[k]) for k, w in enumerate(which)], which


@pytest.mark.parametrize("crystals", ["arrays", "diffsims"])
def test_a_twin_is_found(orix, crystals, request) -> None:
    """Sixty degrees about [111], and the grains where they are, to a degree."""
    rng = np.random.default_rng(4)
    true, which = twin(rng)
    templates = library(2.0) if crystals == "arrays" else request.getfixturevalue("simulated")
    found = diffraction.orientation(disks(true, rng=rng), (6, 8), templates, PIXEL)
    clusters = diffraction.orientation_clusters(found, max_angle_deg=3.0, least=6)
    assert clusters.sizes[:2].tolist() >= [18, 14]
    grains = [np.bincount(which[clusters.labels.ravel() == c]).argmax() for c in (0, 1)]
    assert sorted(grains) == [0, 1]
    assert abs(clusters.misorientation_deg[0, 1] - 60) < 1.0
    np.testing.assert_allclose(np.abs(clusters.axes[0, 1]), 3**-0.5, atol=0.03)
    for c, grain in enumerate(grains):
        assert angle_deg(clusters.rotations[c], true[0 if grain == 0 else 24]) < 1.0
        assert (which[clusters.labels.ravel() == c] == grain).all()
    assert clusters.spread_deg[:2].max() < 3.0
    assert clusters.misorientation_deg[0, 1] == pytest.approx(clusters.misorientation_deg[1, 0], abs=1e-6)


def test_the_library_of_diffsims_shows_what_the_crystal_scatters(simulated) -> None:
    """Its templates find disks of another simulation, at the same orientations."""
    some = Rotation.random(24, random_state=6)
    found = diffraction.orientation(disks(some), (4, 6), simulated, PIXEL)
    off = [[angle_deg(q, r) for q in each] for each, r in zip(found.rotations.reshape(24, 3, 4), some, strict=True)]
    assert (np.min(off, axis=1) < 4).mean() > 0.9
    assert simulated.names == ("gold",)
    assert simulated.symmetries[0].shape == (24, 4)
    assert np.hypot(*simulated.vectors.T).max() < 16


def test_the_map_of_orix(orix, simulated) -> None:
    some = Rotation.random(6, random_state=8)
    table = disks(some)
    found = diffraction.orientation(table.select(table.frame != 4), (2, 3), simulated, PIXEL)
    crystals = found.to_orix(scan_step_nm=0.5)
    assert crystals.shape == (2, 3)
    assert crystals.phase_id.tolist() == [0, 0, 0, 0, -1, 0]
    assert crystals.scan_unit == "nm"
    assert crystals.x.max() == 1.0
    assert crystals.phases[0].name == "gold"
    oriented = crystals["indexed"].orientations
    assert oriented.symmetry.name == "m-3m"
    np.testing.assert_allclose(oriented.data[2], found.rotations[0, 2, 0], atol=1e-9)
    np.testing.assert_allclose(crystals.prop["correlation"][:4], found.correlation[..., 0].ravel()[:4])
    second = found.to_orix(rank=1)
    np.testing.assert_allclose(second["indexed"].rotations.data[0], found.rotations[0, 0, 1], atol=1e-9)
    with pytest.raises(errors.ParameterError, match="rank is 3"):
        found.to_orix(rank=3)


def test_scattered_orientations_are_no_cluster(orix) -> None:
    found = diffraction.orientation(disks(Rotation.random(30, random_state=9)), (5, 6), library(4.0), PIXEL)
    clusters = diffraction.orientation_clusters(found, max_angle_deg=2.0, least=6)
    assert len(clusters) == 0
    assert (clusters.labels == -1).all()
    assert any("no 6 positions" in note for note in clusters.notes)
    with pytest.raises(errors.ParameterError, match="ask for less"):
        diffraction.orientation_clusters(found, least_correlation=1.1)


def test_what_is_missing_is_named(monkeypatch) -> None:
    found = diffraction.orientation(disks(Rotation.random(2, random_state=9)), (1, 2), library(6.0), PIXEL)
    for name in ("orix", "orix.crystal_map", "orix.quaternion", "diffsims.generators.simulation_generator"):
        monkeypatch.setitem(sys.modules, name, None)
    for work in (
        lambda: diffraction.template_library(None, 200),
        lambda: diffraction.orientation_clusters(found),
        found.to_orix,
    ):
        with pytest.raises(errors.DependencyError, match=r"nionswift-esteem\[diffraction\]"):
            work()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": []}, "phases is empty"),
        ({"beam_energy_kev": 0}, "beam_energy_kev is 0"),
        ({"reach_per_nm": 1.0}, "begins at 2.5 1/nm"),
        ({"reach_per_nm": 3.0, "resolution_deg": 20.0}, "no orientation shows two spots"),
    ],
)
def test_libraries_that_cannot_be(gold, changes, message) -> None:
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.template_library(**({"phases": gold, "beam_energy_kev": 200} | changes))


def test_examples(gold) -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.orientation_library"))
    assert result.attempted > 0
    assert result.failed == 0


def test_quaternions_are_those_of_orix(orix) -> None:
    """A rotation takes vectors from the axes of the scan to those of the crystal."""
    turn = Rotation.from_rotvec([0.3, -0.2, 0.5])
    rotation = importlib.import_module("orix.quaternion").Rotation(quaternions(turn))
    vector = importlib.import_module("orix.vector").Vector3d([1.0, 2.0, 3.0])
    np.testing.assert_allclose((rotation * vector).data[0], turn.apply([1, 2, 3]), atol=1e-12)
