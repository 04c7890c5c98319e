"""Scan and detector axes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import fourd
from esteemcore.errors import CalibrationError, ParameterError


def geometry(**changes) -> fourd.Geometry:
    values = {"scan_step_nm": 0.03, "beam_energy_kev": 200, "semiangle_mrad": 15, "pixel_mrad": 0.5}
    return fourd.Geometry(**{**values, **changes})


def test_scan_vectors_turn_to_the_detector_and_back() -> None:
    geo = geometry(rotation_deg=90)
    row, column = geo.to_detector(np.array([1.0]), np.array([0.0]))
    np.testing.assert_allclose([row[0], column[0]], [0, 1], atol=1e-12)
    v = np.random.default_rng(0).normal(size=(2, 7))
    geo = geometry(rotation_deg=33)
    np.testing.assert_allclose(geo.to_scan(*geo.to_detector(*v)), v)


def test_detector_angles_start_at_the_centre_and_flip_exchanges_them() -> None:
    row, column = geometry(center=(3, 5), pixel_mrad=(0.5, 0.25)).detector_mrad((8, 10))
    assert row[3, 5] == column[3, 5] == 0
    assert row[5, 0] == 1.0
    assert column[0, 9] == 1.0
    flipped = geometry(center=(3, 5), pixel_mrad=(0.5, 0.25), flip=True).detector_mrad((8, 10))
    np.testing.assert_array_equal(flipped[0], column)
    np.testing.assert_array_equal(flipped[1], row)
    assert geometry().center_px((8, 10)) == (4.0, 5.0)


def test_geometries_compare_by_value() -> None:
    a = geometry(aberrations={"C10": 3, "C12": [1, 0.5]})
    b = geometry(aberrations={"C12": (1.0, 0.5), "C10": 3.0}, pixel_mrad=(0.5, 0.5))
    assert a == b
    assert hash(a) == hash(b)
    assert a != geometry()


def test_bright_field_has_the_area_of_the_disk() -> None:
    mask = geometry(pixel_mrad=0.31).bright_field((128, 128))
    assert mask.sum() == pytest.approx(np.pi * (15 / 0.31) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam_energy_kev": None}, "beam_energy_kev is missing.*keV"),
        ({"beam_energy_kev": -200}, "beam_energy_kev is -200 keV; expected more than zero"),
        ({"semiangle_mrad": float("inf")}, "semiangle_mrad is inf"),
        ({"pixel_mrad": "wide"}, "pixel_mrad is 'wide'"),
        ({"scan_step_nm": (0.1, 0.1, 0.1)}, "scan_step_nm"),
        ({"scan_step_nm": 0}, "scan_step_nm is 0 nm"),
        ({"center": (3,)}, "center"),
        ({"center": (3, float("nan"))}, "center is nan"),
        ({"rotation_deg": float("nan")}, "rotation_deg is nan"),
        ({"aberrations": {"C11": 1.0}}, "C11"),
        ({"aberrations": {"C10": float("nan")}}, "C10 is nan"),
    ],
)
def test_impossible_calibrations(changes, message) -> None:
    with pytest.raises(CalibrationError, match=message):
        geometry(**changes)


def test_annular_masks() -> None:
    geo = geometry()
    disk = fourd.annular_mask(geo, (64, 64), 0, 15)
    ring = fourd.annular_mask(geo, (64, 64), 15, np.inf)
    assert not (disk & ring).any()
    assert (disk | ring).all()
    with pytest.raises(ParameterError, match="outer_mrad"):
        fourd.annular_mask(geo, (64, 64), 10, 10)
    with pytest.raises(ParameterError, match="inner_mrad"):
        fourd.annular_mask(geo, (64, 64), -1, 10)


def test_numbers_are_kept_as_numbers() -> None:
    geo = geometry(beam_energy_kev=np.float32(200), rotation_deg=np.int64(30), semiangle_mrad="15", flip=np.True_)
    assert (geo.beam_energy_kev, geo.rotation_deg, geo.semiangle_mrad) == (200.0, 30.0, 15.0)
    assert geo.flip is True
    assert geo == geometry(rotation_deg=30, flip=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"beam_energy_kev": 200_000}, "keV, not eV"),
        ({"flip": "no"}, "transposed"),
        ({"center": 5}, "row, column"),
        ({"aberrations": [3.0]}, "mapping"),
        ({"aberrations": "C10"}, "mapping"),
    ],
)
def test_words_and_units_that_cannot_be(change, text) -> None:
    with pytest.raises(CalibrationError, match=text):
        geometry(**change)
