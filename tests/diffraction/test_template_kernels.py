"""Every compiled loop of disks that look like a template against a NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest
from known_aperture import RADIUS, aperture
from scipy import optimize, signal

from esteemcore import diffraction
from esteemcore.diffraction import _template_frame_kernels as frame_kernels
from esteemcore.diffraction import _template_kernels as kernels
from esteemcore.diffraction.template_search import LEVELS, correlations, template_look

SHAPE = (40, 47)
P = np.array([0.3, 2.0, 0.4, -0.3, 0.02, 0.21, -0.34])
OUTWARD = np.array([0.6, 0.8])


@pytest.fixture(scope="module")
def look():
    template = diffraction.learn_template(aperture((40, 40), (19.3, 20.6), 1e6) + 0.2, RADIUS)
    valid = np.random.default_rng(0).random(SHAPE) > 0.02
    valid[16:25, 16:31] = True
    known = np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))
    return template_look(template, valid, 3.0, np.full((1, 2), np.nan), np.eye(2), known)


@pytest.fixture
def frame(look, rng):
    """Counts of a disk near a pixel, masked pixels zero."""
    return np.where(look.valid, rng.poisson(aperture(SHAPE, (20.2, 22.7), 400) + 0.3), 0).astype(float)


def scratch(look):
    pixels = look.place.shape[1]
    return np.zeros((3, pixels), np.float32), np.zeros((kernels.TEMPLATE_ROWS, pixels), np.float32)


def around(image, look, y, x):
    """The values of an image in the window round a pixel, NaN beyond the edge."""
    padded = np.pad(np.asarray(image, float), 30, constant_values=np.nan)
    dy, dx = look.place[:, : len(look.own)].astype(int)
    return padded[y + dy + 30, x + dx + 30]


def test_sums_by_electrons_by_transforms_and_by_definition(look, frame, monkeypatch) -> None:
    """All of them whole numbers, the same to the last one."""
    n = len(look.own)
    whole = np.rint(look.own * LEVELS / look.own.max())
    reach = len(look.span) // 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    dy, dx = look.place[:, :n].astype(int)
    kernel[dy + reach, dx + reach] = whole
    twin = np.rint(signal.correlate(frame, kernel, mode="same", method="direct"))
    monkeypatch.setattr("esteemcore.diffraction.template_search.ADDITIONS_PER_PIXEL", 0.0)
    sums = np.zeros((2, *SHAPE))
    direct = correlations(np.array([frame, frame]), look, np.array([False, True]), sums)
    assert direct.tolist() == [0, 0]
    np.testing.assert_array_equal(sums, [np.zeros(SHAPE), twin])
    made = frame_kernels.make_scratch(*SHAPE, look)
    frame_kernels.correlate(frame, look.steps, made.padded)
    near = look.steps.shape[0] // 2
    np.testing.assert_array_equal(made.padded[near : near + SHAPE[0], near : near + SHAPE[1]], twin)
    monkeypatch.undo()
    frame[6:] = 0
    assert correlations(frame[None], look, np.array([True]), sums).tolist() == [1]


def test_what_stands_out_by_its_definition(look, frame) -> None:
    """The zero-mean kernel over its standard deviation, at each place from the good pixels of its window."""
    n = len(look.own)
    whole = np.rint(look.own * LEVELS / look.own.max())
    sums, counted = np.zeros(SHAPE), np.zeros(SHAPE)
    excess, level = np.zeros(SHAPE), np.zeros(SHAPE)
    twin = np.zeros(SHAPE)
    for y, x in np.ndindex(SHAPE):
        good = np.nan_to_num(around(look.valid, look, y, x)) > 0
        seen, own = around(frame, look, y, x)[good], whole[good]
        sums[y, x], counted[y, x] = (seen * own).sum(), seen.sum()
        usable = look.area[y, x] > 0
        assert usable == bool(
            look.valid[y, x]
            and own.sum() > 0.75 * whole.sum()
            and good.sum() > 0.6 * n
            and ((own - own.mean()) ** 2).sum() > 0.5 * ((whole - whole.mean()) ** 2).sum()
        )
        more = (seen * (own - own.mean())).sum() if usable else 0
        if more > 0:
            twin[y, x] = more**2 / (seen.mean() * ((own - own.mean()) ** 2).sum())
    frame_kernels.score_template(sums, counted, look, excess, level)
    np.testing.assert_allclose(excess, twin, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(level, sums * look.effective / whole.sum())


@pytest.mark.parametrize("place", [(20, 23), (8, 40)])
def test_significance_is_the_ratio_of_likelihoods(look, frame, place) -> None:
    good = np.nan_to_num(around(look.valid, look, *place)) > 0
    seen, own = around(frame, look, *place)[good], look.own[good]
    seen[:3] += 1  # some counts wherever it is

    def unlikely(share):
        rate = seen.sum() * ((1 - share) / len(seen) + share * own / own.sum())
        return (rate - seen * np.log(rate)).sum()

    best = optimize.minimize_scalar(unlikely, bounds=(1e-4, 0.999), method="bounded", options={"xatol": 1e-7})
    twin = 2 * (unlikely(0.0) - best.fun) / (1 + look.speckle**2 * look.effective * (1 - best.x) * seen.mean())
    image = np.zeros(SHAPE)
    dy, dx = look.place[:, : len(look.own)].astype(int)
    image[place[0] + dy[good], place[1] + dx[good]] = seen
    score, height, background = frame_kernels.significance(image, look, *place, *np.zeros((2, 500), np.float32))
    assert score == pytest.approx(np.sqrt(max(twin, 0)), rel=1e-3, abs=0.02)
    assert height * own.sum() + background * len(seen) == pytest.approx(seen.sum())


@pytest.mark.parametrize("place", [(20, 23), (3, 44)])
def test_a_window(look, frame, rng, place) -> None:
    model = rng.uniform(-0.2, 1, SHAPE)
    window, _ = scratch(look)
    kernels.gather_window(frame, model, look, *place, window)
    n = len(look.own)
    good = np.nan_to_num(around(look.valid, look, *place)) > 0
    np.testing.assert_array_equal(window[kernels.GOOD, :n], good)
    np.testing.assert_allclose(window[kernels.COUNTS, :n], np.where(good, around(frame, look, *place), 0))
    np.testing.assert_allclose(
        window[kernels.OTHERS, :n], np.where(good, np.maximum(around(model, look, *place), 0), 0), rtol=1e-6
    )
    assert not window[:, n:].any()


def rate_of(look, p, others):
    """The rates that a fit compares with the counts."""
    n = len(look.own)
    dy, dx = look.place[:, :n].astype(float)
    steps = look.table.shape[0] - 1
    v, u = (p[5] + 0.5) * steps, (p[6] + 0.5) * steps
    i, j = int(v), int(u)
    corners = look.table[i : i + 2, j : j + 2, 0, :n].astype(float)
    shape = np.tensordot(np.outer([1 - (v - i), v - i], [1 - (u - j), u - j]), corners, 2)
    structure = p[1] + (p[2] * (dy - p[5]) + p[3] * (dx - p[6])) / RADIUS
    return p[0] * (1 + p[4] * (OUTWARD @ [dy, dx]) / 4) ** 4 + structure * shape + others


def test_rates_and_derivatives(look, frame, rng) -> None:
    """Differences of the rates, but for the table's own derivatives, which are those of splines and not of lines."""
    n = len(look.own)
    window, work = scratch(look)
    kernels.gather_window(frame, rng.uniform(0, 1, SHAPE), look, 20, 23, window)
    kernels.derivatives(window, look.place, P, OUTWARD, RADIUS, look.table, work)
    others = window[kernels.OTHERS, :n]
    rate = rate_of(look, P, others)
    np.testing.assert_allclose(work[kernels.ROW_RATE, :n], rate, rtol=1e-5)
    np.testing.assert_allclose(work[kernels.ROW_RESIDUAL, :n], window[kernels.COUNTS, :n] - rate, atol=1e-4)
    for i, (step, within) in enumerate(zip([1e-3] * 5 + [0.06, 0.06], [1e-3] * 5 + [0.1, 0.1], strict=True)):
        more = np.eye(7)[i] * step
        slope = (rate_of(look, P + more, others) - rate_of(look, P - more, others)) / (2 * step)
        off = work[i, :n] - slope
        assert np.sqrt((off**2).mean()) < within * np.sqrt((slope**2).mean())
        over = window[kernels.GOOD, :n] * work[i, :n] / rate
        np.testing.assert_allclose(work[kernels.ROW_OVER + i, :n], over, rtol=1e-4, atol=1e-6)


def test_how_much_likelier_a_step_is(look, frame) -> None:
    n = len(look.own)
    window, work = scratch(look)
    kernels.gather_window(frame, np.zeros(SHAPE), look, 20, 23, window)
    counts = window[kernels.COUNTS, :n].astype(float)
    before, now = rate_of(look, P, 0), rate_of(look, P * 1.2, 0)
    work[kernels.ROW_BEFORE, :n], work[kernels.ROW_RATE, :n] = before, now
    work[kernels.ROW_BEFORE, n:] = work[kernels.ROW_RATE, n:] = 1
    good = window[kernels.GOOD, :n] > 0
    twin = (counts * np.log(now / before) - (now - before))[good].sum()
    assert kernels.likelier(window, work) == pytest.approx(twin, abs=0.01)


def test_a_disk_in_a_model_is_taken_back(look) -> None:
    model = np.zeros(SHAPE)
    _, work = scratch(look)
    kernels.add_template(model, look, np.array([20, 23]), P, 1.0, work)
    dark = P.copy()
    dark[0] = 0
    n = len(look.own)
    twin = np.maximum(rate_of(look, dark, 0), 0)
    np.testing.assert_allclose(around(model, look, 20, 23), twin, atol=1e-5)
    assert model.sum() == pytest.approx(np.nansum(around(model, look, 20, 23)))
    assert n == len(twin)
    kernels.add_template(model, look, np.array([20, 23]), P, -1.0, work)
    np.testing.assert_allclose(model, 0, atol=1e-12)
    kernels.add_template(model, look, np.array([1, 45]), P, 1.0, work)  # what lies beyond the frame is left out
    inside = around(np.ones(SHAPE), look, 1, 45) == 1
    np.testing.assert_allclose(around(model, look, 1, 45)[inside], twin[inside], atol=1e-5)


def test_the_gain_of_a_disk(look, frame) -> None:
    """Against the likeliest even background without it."""
    n = len(look.own)
    window, work = scratch(look)
    p = np.array([0.3, 3.0, 0, 0, 0, 0.2, -0.3])
    kernels.gather_window(frame, np.full(SHAPE, 0.05), look, 20, 23, window)
    kernels.derivatives(window, look.place, p, OUTWARD, RADIUS, look.table, work)
    good = window[kernels.GOOD, :n] > 0
    counts = window[kernels.COUNTS, :n][good].astype(float)

    def likely(rate):
        return (counts * np.log(rate) - rate).sum()

    best = optimize.minimize_scalar(lambda b: -likely(np.full(counts.shape, b + 0.05)), bounds=(0, 5), method="bounded")
    twin = likely(rate_of(look, p, 0.05)[good]) + best.fun
    assert kernels.gain_of_disk(window, n, p, work) == pytest.approx(twin, abs=0.05)


def test_what_a_fit_states(look, frame) -> None:
    """Errors from the inverse of the information, and the radius from how the template grows."""
    window, work = scratch(look)
    normal, p, result, middle = np.zeros((16, 7)), P.copy(), np.zeros(7), np.array([20, 23])
    p[:2] = 0.3, 3.0
    mean, sd = np.zeros(3), np.array([0.35, 0.35, 0.1])
    fitted = kernels.fit_template(
        frame, np.zeros(SHAPE), look, middle, OUTWARD, mean, sd, 0.01, window, work, normal, p, result
    )
    assert fitted
    at = middle + p[5:]
    n = len(look.own)
    kernels.derivatives(window, look.place, p, OUTWARD, RADIUS, look.table, work)
    good = window[kernels.GOOD, :n] > 0
    design, rate = work[:7, :n][:, good].astype(float), work[kernels.ROW_RATE, :n][good].astype(float)
    information = design / rate @ design.T
    information[range(2, 5), range(2, 5)] += 1 / (sd * (p[1], p[1], 1)) ** 2
    inverse = np.linalg.inv(information)
    np.testing.assert_allclose(result[:2], np.diag(inverse)[5:], rtol=0.02)
    np.testing.assert_allclose(result[4:], np.diag(inverse)[2:5] / np.array([p[1], p[1], 1]) ** 2, rtol=0.02)
    assert np.hypot(*(at - (20.2, 22.7))) < 5 * np.sqrt(result[0] + result[1])
    dy, dx = look.place[:, :n].astype(float)[:, good]
    v, u = (dy - p[5]) / RADIUS, (dx - p[6]) / RADIUS
    along = work[kernels.ROW_ALONG_Y, :n][good] * v + work[kernels.ROW_ALONG_X, :n][good] * u
    grows = -(p[1] + p[2] * v + p[3] * u) * along
    known = np.linalg.solve(information, (design / rate) @ grows)
    alone = (grows - known @ design) / rate @ grows
    wanted = (grows - known @ design) / rate @ (window[kernels.COUNTS, :n][good] - rate) / alone
    np.testing.assert_allclose(result[3], alone, rtol=0.02)
    assert result[2] == pytest.approx(wanted, abs=0.05)


def test_places_apart(look) -> None:
    place = np.zeros((4, 6))
    place[:, :3] = (10, 10, 9), (10, 15, 8), (10, 21, 7), (30, 10, 6)
    assert frame_kernels._apart(place, 4, look) == 3
    assert place[:3, 1].tolist() == [10, 21, 10]
