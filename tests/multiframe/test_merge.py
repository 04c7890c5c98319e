"""Areas of one specimen are laid on each other and added up; what shows something else stays out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from known_series import LINES, SHAPE, Series, run

from esteemcore import multiframe
from esteemcore.errors import ParameterError

OFFSETS = np.array([(0.0, 0.0), (3.3, -2.6), (-1.75, 4.4)])
# counts only: the fit of a background gets better with more of them, and the ratio with it
MAP = multiframe.ElementMap("Ti", LINES["Ti"])


class Foreign(Series):
    """Another specimen: the same one upside down."""

    def image(self, k):
        return np.ascontiguousarray(super().image(k)[::-1, ::-1])


@pytest.fixture(scope="module")
def areas(tmp_path_factory):
    """Three areas that show the same, displaced, and one that does not."""
    session = multiframe.SessionFolder(tmp_path_factory.mktemp("session"))
    found = []
    for number, offset in enumerate([*OFFSETS, OFFSETS[0]]):
        series = (Foreign if number == 3 else Series)(frames=5, seed=number, jitter_px=0.1)
        series.moved = series.moved + offset
        folder = session.new_region()
        assert run(series, folder).frames == 5
        found.append((folder.path, series, multiframe.process_series(folder.path, maps=[MAP], components=False)))
    return found


def merged(areas, chosen, **options):
    return multiframe.merge_areas([areas[k][0] for k in chosen], [areas[k][2] for k in chosen], **options)


def test_areas_are_laid_on_each_other(areas) -> None:
    found = merged(areas, [0, 1, 2], maps=[MAP])
    assert found.accepted.all()
    means = np.array([series.moved.mean(axis=(0, 1)) for _, series, _ in areas[:3]])
    truth = means - means[0]
    assert np.abs(found.shifts - truth).max() < 0.15
    single = areas[0][2].maps["Ti"].snr
    assert found.maps["Ti"].snr == pytest.approx(np.sqrt(3) * single, rel=0.05)
    assert found.dose == pytest.approx(sum(area.dose.sum() for _, _, area in areas[:3]))
    counts = sum(area.spectra.counts for _, _, area in areas[:3])
    assert found.spectra.data.sum() + found.spectra.outside == pytest.approx(counts, rel=1e-6)


def test_an_area_that_shows_something_else_stays_out(areas) -> None:
    found = merged(areas, [0, 3, 1])
    assert found.accepted.tolist() == [True, False, True]
    assert found.image.frames == 10
    assert found.likeness[2] > 0.9 > 0.5 > found.likeness[1]


def test_finer_pixels_keep_the_counts(areas) -> None:
    found = merged(areas, [0, 1], upsample=2, variance=False)
    assert found.image.data.shape == (2 * SHAPE[0], 2 * SHAPE[1])
    assert found.spectra.data.sum() + found.spectra.outside == pytest.approx(found.spectra.counts, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [("energy_ev", 1.01, "has another energy axis than"), ("pixel_nm", 2.0, "has pixels of 0.2 x 0.2 nm, but")],
)
def test_areas_of_another_calibration_are_refused(areas, name, factor, words) -> None:
    (path, _, one), (other, _, two) = areas[:2]
    values = factor * np.asarray(getattr(two, name))
    scaled = dataclasses.replace(two, **{name: values if name == "energy_ev" else tuple(values)})
    with pytest.raises(ParameterError, match=words):
        multiframe.merge_areas([path, other], [one, scaled])


def test_what_cannot_be_merged_is_refused(areas) -> None:
    with pytest.raises(ParameterError, match="two or more"):
        merged(areas, [0])
    path, _, one = areas[0]
    binned = multiframe.process_series(path, components=False, bin_channels=2)
    with pytest.raises(ParameterError, match="other spectra"):
        multiframe.merge_areas([path, path], [one, binned])
    with pytest.raises(ParameterError, match="process all areas alike"):
        multiframe.merge_areas([path, path], [binned, binned])
