from __future__ import annotations

import numpy as np
import pytest

from esteemcore import errors, simulate


@pytest.mark.parametrize(
    ("name", "composition", "cell_nm"),
    [
        ("zeolite", {"Si": 96, "O": 192}, (2.0022, 1.3383)),
        ("graphene", {"C": 330, "Si": 1, "N": 2}, (2.952, 2.98256)),
        ("srtio3", {"Sr": 1, "Ti": 1, "O": 3}, (0.3905, 0.3905)),
    ],
)
def test_composition_and_cell(name: str, composition: dict[str, int], cell_nm: tuple[float, float]) -> None:
    specimen = simulate.specimen(name)
    assert specimen.figures["composition"] == composition
    assert specimen.cell_nm == pytest.approx(cell_nm, abs=1e-4)
    assert specimen.slices.max() > 10 * abs(specimen.slices.min())


def test_bonds_of_the_zeolite() -> None:
    shortest, mean, longest = simulate.specimen("zeolite").figures["si_o_distance_nm"]
    assert 0.155 < shortest < mean < longest < 0.165


@pytest.mark.parametrize(
    ("name", "scattering_nm"), [("zeolite", 96 * 0.583 + 192 * 0.198), ("srtio3", 1.31 + 0.878 + 3 * 0.198)]
)
def test_mean_inner_potential_is_the_sum_of_the_atoms(name: str, scattering_nm: float) -> None:
    # electron scattering factors at zero angle of neutral atoms (nm); V = h^2 / (2 pi m e) f / volume
    specimen = simulate.specimen(name)
    cells = len(specimen.slices) / specimen.figures["default_slices"] * (26 if name == "srtio3" else 1)
    expected = 0.4788 * scattering_nm * cells / np.prod(specimen.cell_nm)
    assert specimen.projected.mean() == pytest.approx(expected, rel=0.03)


def test_channels_of_the_zeolite_are_empty() -> None:
    # straight channels: about 0.5 nm wide, two per cell, on the inversion centres of the projection
    specimen = simulate.specimen("zeolite")
    shape = specimen.projected.shape
    row, column = np.meshgrid(
        *(np.arange(n) * c / n for n, c in zip(shape, specimen.cell_nm, strict=True)), indexing="ij"
    )
    empty = 0
    for fraction in ((0.0, 0.0), (0.0, 0.5), (0.5, 0.0), (0.5, 0.5)):
        offset = [
            (axis - f * length + length / 2) % length - length / 2
            for axis, f, length in zip((row, column), fraction, specimen.cell_nm, strict=True)
        ]
        channel = specimen.projected[np.hypot(*offset) < 0.22].max()
        empty += channel < 0.1 * specimen.projected.max()
    assert empty == 2


def test_thickness_is_met_to_a_slice() -> None:
    assert simulate.specimen("srtio3", thickness_nm=10).thickness_nm == pytest.approx(10, abs=0.1)
    thin, thick = simulate.specimen("zeolite"), simulate.specimen("zeolite", thickness_nm=3 * 1.9899)
    np.testing.assert_allclose(thick.projected, 3 * thin.projected, rtol=1e-6)
    assert simulate.specimen("zeolite") is simulate.specimen("zeolite")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ruby",), "'zeolite', 'graphene', 'srtio3', 'vacuum'"),
        (("graphene", 2.0), "single sheet"),
        (("zeolite", float("nan")), "finite"),
        (("zeolite", -1.0), "more than zero"),
        (("srtio3", 1e6), "at most"),
    ],
)
def test_errors(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        simulate.specimen(*arguments)  # type: ignore[arg-type]
