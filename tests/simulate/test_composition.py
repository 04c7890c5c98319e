"""Specimens of known composition: atoms are conserved by blur, phases fill what they should, images follow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from esteemcore import simulate
from esteemcore.errors import ParameterError
from esteemcore.simulate.layouts import CELL_NM


@pytest.mark.parametrize("name", simulate.COMPOSITIONS)
def test_every_specimen_has_atoms_in_the_ratio_of_its_formulas(name) -> None:
    found = simulate.composition(name)
    content = found.maps((24, 24), found.field_nm / 24)
    assert (content.atoms >= 0).all()
    assert (content.thickness_nm >= 0).all()
    for phase in content.phases:
        amounts = {
            element: content.atoms[:, content.components.index((phase.name, element))] for element in phase.elements
        }
        if name in ("oxide_interface", "srtio3"):
            continue  # columns: see below
        volume = content.phase(phase.name)
        for element, amount in amounts.items():
            np.testing.assert_allclose(amount, volume * phase.atoms_per_nm3[element], atol=1e-9)


def test_density_and_weight_of_a_phase_agree() -> None:
    phase = simulate.PHASES["SrTiO3"]
    mass = sum(n * simulate.ELEMENTS[element][1] for element, n in phase.atoms_per_nm3.items())
    assert mass * 1e21 / constants.N_A == pytest.approx(phase.density_g_cm3)
    assert phase.atoms_per_nm3["Sr"] == pytest.approx(1 / CELL_NM**3, rel=0.02)  # one formula unit a cell


def test_columns_hold_one_formula_unit_per_cell_whatever_the_blur() -> None:
    crystal = simulate.composition("srtio3", thickness_nm=10)
    for blur in (0.03, 0.06):
        content = crystal.maps((40, 40), CELL_NM / 40, blur_nm=blur)
        for element, n in (("Sr", 1), ("Ti", 1), ("O", 3)):
            per_cell = content.element(element).mean() * CELL_NM**2
            assert per_cell == pytest.approx(n * 10 / CELL_NM, rel=1e-6)


def test_an_interface_changes_from_one_perovskite_to_the_other() -> None:
    interface = simulate.composition("oxide_interface")
    far = 6 * CELL_NM
    content = interface.at([[-far, 0.0], [far, 0.0], [-far - CELL_NM / 2, CELL_NM / 2]])
    assert content.element("Sr")[0] > 1000 > 1 > content.element("La")[0]
    assert content.element("La")[1] > 1000 > 1 > content.element("Sr")[1]
    assert content.element("Ti")[2] > 1000
    np.testing.assert_allclose(content.thickness_nm.sum(axis=1), 20.0)


def test_a_particle_is_a_sphere_in_a_shell() -> None:
    particle = simulate.composition("core_shell")
    content = particle.at([[0.0, 0.0], [0.0, 12.0], [0.0, 18.0]])
    np.testing.assert_allclose(content.phase("Fe3O4"), [22, 0, 0])
    np.testing.assert_allclose(content.phase("Mn3O4"), [12, 2 * np.sqrt(17**2 - 12**2), 0])
    np.testing.assert_allclose(content.phase("C"), 6)
    volume = particle.maps((136, 136), 0.25).phase("Fe3O4").sum() * 0.25**2
    assert volume == pytest.approx(4 / 3 * np.pi * 11**3, rel=0.01)


def test_particles_differ_by_seed_and_stay_in_their_squares() -> None:
    places = np.stack([np.full(200, 60.0), np.linspace(-100, 100, 200)], axis=1)
    first, second = (simulate.composition("core_shell", seed=seed).at(places) for seed in (0, 1))
    assert not np.array_equal(first.thickness_nm, second.thickness_nm)
    np.testing.assert_array_equal(first.thickness_nm, simulate.composition("core_shell").at(places).thickness_nm)


def test_a_needle_has_its_layers_in_turn_and_vacuum_above() -> None:
    needle = simulate.composition("needle")
    rows = np.array([-60.0, -30, -18, -6, 6, 60])
    content = needle.at(np.stack([rows, np.zeros(6)], axis=1))
    found = [
        max(("Ni", "Cr", "Si"), key=lambda element, i=i: content.phase(element)[i]) if content.atoms[i].any() else None
        for i in range(6)
    ]
    assert found == [None, "Ni", "Cr", "Ni", "Cr", "Si"]


def test_a_ring_collects_between_nothing_and_everything() -> None:
    content = simulate.composition("needle").maps((32, 32), 2.5)
    beyond = content.scattered(200, 60)
    assert ((beyond >= 0) & (beyond < 1)).all()
    rings = content.scattered(200, 60, 120) + content.scattered(200, 120)
    np.testing.assert_allclose(rings, beyond, atol=1e-12)
    assert beyond[content.element("Ni") > 1500].mean() > 2 * beyond[content.element("Si") > 1500].mean()
    thin = simulate.composition("zeolite", thickness_nm=0.1).at([[0, 0]])
    double = simulate.composition("zeolite", thickness_nm=0.2).at([[0, 0]])
    assert double.scattered(200, 60)[0] == pytest.approx(2 * thin.scattered(200, 60)[0], rel=1e-3)


def test_mean_free_path_grows_with_energy_and_falls_with_collection() -> None:
    silicon = simulate.PHASES["Si"]
    assert silicon.mean_free_path_nm(200, 15, 30) > silicon.mean_free_path_nm(80, 15, 30)
    assert silicon.mean_free_path_nm(200, 15, 60) < silicon.mean_free_path_nm(200, 15, 15)
    assert 90 < silicon.mean_free_path_nm(200, 0.1, 200) < 180  # Iakoubovskii et al.: 145 nm at 200 keV


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: simulate.composition("gold"), "specimen name"),
        (lambda: simulate.composition("graphene", thickness_nm=3), "single sheet"),
        (lambda: simulate.composition("needle", thickness_nm=0), "thickness_nm"),
        (lambda: simulate.composition("needle").at([[0, 0]], blur_nm=0), "blur_nm"),
        (lambda: simulate.composition("needle").at([[0, np.nan]]), "finite|NaN"),
        (lambda: simulate.composition("needle").maps((4, 4), 0), "pixel_nm"),
        (lambda: simulate.composition("needle").at([[0, 0]]).element("Au"), "element"),
        (lambda: simulate.composition("needle").at([[0, 0]]).scattered(200, 60, 50), "rise"),
        (lambda: simulate.Phase("x", {"Xx": 1}, 1, 1, 1), "Xx"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message) -> None:
    with pytest.raises(ParameterError, match=message):
        make()
