"""X-rays to expect: the table of the paper, the verdicts of the paper, and maps that are drawn count by count."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esteemcore import multiframe
from esteemcore.errors import ParameterError

DOSE, FRAMES, MOTIFS = 3.44e5, 230, 112
TABLE = {  # nearest spacing in nm; counts/nm² of a frame (rounded there), of the series, after template matching
    "Ag": (0.30, 7.5, 1725, 193150),
    "Se": (0.30, 18, 4268, 478028),
    "Sn": (0.62, 5, 1099, 123076),
    "Zn": (0.30, 5, 1149, 128688),
}


def predicted(name: str) -> multiframe.XrayPrediction:
    """Predict a line from what the average over the motifs has."""
    spacing, _, _, average = TABLE[name]
    line = multiframe.XrayLine(name, spacing, average / (MOTIFS * FRAMES * DOSE * 100))
    return multiframe.predict_xrays(line, DOSE, FRAMES, MOTIFS)


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_paper_follows_from_its_last_column(name: str) -> None:
    _, frame, series, average = TABLE[name]
    found = predicted(name)
    assert found.average == pytest.approx(average)
    assert round(found.series) == pytest.approx(series, abs=1)
    assert found.frame == pytest.approx(frame, abs=0.6)  # the paper rounds: 18 for 18.56, 5 for 4.78


def test_the_first_column_of_the_paper_is_rounded() -> None:
    """From 18 and 5 counts in a frame neither the 4268 of selenium nor the 1099 of tin follow."""
    assert 0.975 * TABLE["Se"][2] > 18 * FRAMES
    assert 1.04 * TABLE["Sn"][2] < 5 * FRAMES
    assert predicted("Se").frame == pytest.approx(18.557, abs=0.001)
    assert predicted("Sn").frame == pytest.approx(4.778, abs=0.001)


def test_the_verdicts_of_the_paper() -> None:
    """No column in a frame; tin very clear in the series, the others just so; after template matching all are clear."""
    found = {name: predicted(name) for name in TABLE}
    assert all(one.frame_snr < 3 for one in found.values())
    assert found["Sn"].series_snr > 30
    assert all(3 < found[name].series_snr < 10 for name in ("Ag", "Se", "Zn"))
    assert all(one.average_snr > 30 for one in found.values())


@pytest.mark.parametrize(("spacing", "width", "counts"), [(0.3, 0.19, 40.0), (0.62, 0.19, 12.0), (0.4, 0.3, 200.0)])
def test_counts_that_are_drawn_one_by_one_have_this_ratio(spacing: float, width: float, counts: float) -> None:
    """The best linear filter is applied to columns and to as many counts without columns, cell by cell."""
    rng, fine, cells = np.random.default_rng(1), 24, 4000
    sigma = width / math.sqrt(8 * math.log(2))
    at = (np.arange(fine) + 0.5) / fine * spacing
    wrapped = sum(np.exp(-0.5 * ((at - spacing / 2 + n * spacing) / sigma) ** 2) for n in range(-6, 7))
    share = np.outer(wrapped, wrapped)
    share /= share.sum()
    flat = np.full_like(share, 1 / share.size)
    template = share / flat - 1
    scores = {}
    for name, rate in (("columns", share), ("flat", flat)):
        drawn = rng.poisson(counts * spacing**2 * rate, (cells, fine, fine))
        scores[name] = (drawn * template).sum(axis=(1, 2))
    ratio = (scores["columns"].mean() - scores["flat"].mean()) / scores["flat"].std()
    assert ratio == pytest.approx(multiframe.column_snr(counts, spacing, width), rel=0.06)


def test_it_grows_as_the_root_of_the_counts_and_falls_with_the_width() -> None:
    one = multiframe.column_snr(100, 0.3)
    assert multiframe.column_snr(400, 0.3) == pytest.approx(2 * one)
    assert multiframe.column_snr(100, 0.3, 0.1) > one > multiframe.column_snr(100, 0.3, 0.3)
    # columns far apart: all their counts lie in an area of 4 pi sigma², whatever the distance
    sigma = 0.19 / math.sqrt(8 * math.log(2))
    per_column = 50.0
    far = multiframe.column_snr(per_column / 9.0, 3.0)
    assert far == pytest.approx(math.sqrt(per_column * (9.0 / (4 * math.pi * sigma**2) - 1)), rel=1e-6)
    assert multiframe.column_snr(0, 0.3) == 0
    assert multiframe.column_snr(multiframe.counts_needed(7.0, 0.41, 0.2), 0.41, 0.2) == pytest.approx(7)


def test_counts_follow_dose_frames_and_areas() -> None:
    line = multiframe.XrayLine("Zn", 0.3, 1.5e-7)
    region = multiframe.fit_region((11.2, 11.2), 0.056)

    def plan(**settings: int) -> multiframe.SeriesPlan:
        return multiframe.SeriesPlan(region, multiframe.SeriesSettings(current_pa=17, dwell_s=1e-3, **settings))

    many = plan(frames=10, areas=23)
    found = multiframe.predict_xrays(line, many.figures.dose_per_frame, many.figures.frames)
    electrons_per_nm2 = 17e-12 * 1e-3 / 1.602176634e-19 / 0.056**2
    assert found.frame == pytest.approx(1.5e-7 * electrons_per_nm2)
    assert found.series == pytest.approx(230 * found.frame)
    (words,) = multiframe.xrays_in_words(many, [line], motifs=112)
    assert words.startswith("Zn, columns 0.3 nm apart: 5.1 counts/nm² per frame (lost), 1,167 in the series (marginal)")
    assert words.endswith("130,737 over 112 motifs (clear)")
    (words,) = multiframe.xrays_in_words(plan(), [line])
    assert "series" not in words


@pytest.mark.parametrize("typed", ["Ag", "Ag:0.3", "Ag:0.3:x", "Ag:0.3:0.2:1", "Ag:0..3:1"])
def test_lines_that_cannot_be_read_are_refused(typed: str) -> None:
    with pytest.raises(ParameterError, match="is no X-ray line; expected NAME:SPACING:COUNTS"):
        multiframe.lines_from_words(typed)


@pytest.mark.parametrize("typed", ["Ag:0:0.2", "Ag:0.3:0"])
def test_lines_that_make_no_sense_are_refused(typed: str) -> None:
    with pytest.raises(ParameterError, match="of Ag"):
        multiframe.lines_from_words(typed)
