"""What is seen live: drift and sums are those of the specimen, and the series ends when it has enough."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drifting import CHANNELS, ENERGY, LINE, SHAPE, Specimen

from esteemcore import io, multiframe, scan
from esteemcore.errors import CalibrationError, ParameterError
from esteemcore.multiframe import sums


def acquired(tmp_path, specimen, live, plan=None, **settings):
    folder = multiframe.SessionFolder(tmp_path).new_region()
    return multiframe.acquire_series(plan or specimen.plan(**settings), folder, specimen.take, on_frame=live)


@pytest.mark.parametrize("kind", ["dense", "events"])
def test_drift_and_sums_are_those_of_the_specimen(tmp_path, kind) -> None:
    specimen = Specimen(kind=kind)
    plan = specimen.plan(frames=10)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE], background=False)
    result = acquired(tmp_path, specimen, live, plan)
    assert (result.frames, result.notes) == (10, ())
    state = live.state
    assert state.frames == state.accepted == 10
    truth = 0.1 * np.arange(10)[:, None] * specimen.drift
    assert np.abs(state.drift_nm - truth).max() < 0.08  # of pixels of 0.1 nm
    assert np.sqrt(np.square(state.drift_nm - truth).mean()) < 0.03
    assert state.dose == pytest.approx(10 * plan.figures.dose_per_frame)
    sums = live.result()
    stored = sum(np.asarray(frame_counts(result.folder.frame(n)["eds"])) for n in range(10))
    assert sums.data.sum() + sums.outside == pytest.approx(stored, rel=1e-6)
    inner = np.zeros(SHAPE, bool)
    inner[8:-8, 8:-8] = True
    seen = specimen.seen(0)[inner]
    noise = np.mean(0.2 + seen) / (40 * 10)  # of ten frames of 40 counts exactly in place, as variance of the share
    assert np.corrcoef(state.mean[inner], seen)[0, 1] > 1 / np.sqrt(1 + noise / seen.var())


def frame_counts(spectra):
    return spectra.count.sum() if hasattr(spectra, "count") and not isinstance(spectra, np.ndarray) else spectra.sum()


@pytest.mark.parametrize("before", [1, 3, 7])
def test_a_pause_costs_no_frame(tmp_path, before) -> None:
    """The specimen moves by as much from frame to frame, in the pause as well."""
    specimen = Specimen()
    plan = specimen.plan(frames=8)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, background=False, components=False)

    def late(frame):
        return live(dataclasses.replace(frame, time_s=0.01 * frame.number + 3.0 * (frame.number >= before)))

    acquired(tmp_path, specimen, late, plan)
    assert live.state.accepted == 8
    assert np.abs(live.state.drift_nm - 0.1 * np.arange(8)[:, None] * specimen.drift).max() < 0.08


def test_snr_grows_as_the_root_of_the_dose(tmp_path) -> None:
    specimen = Specimen(counts=30.0)
    plan = specimen.plan(frames=16)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE], background=False, components=False)
    acquired(tmp_path, specimen, live, plan)
    dose, snr = live.state.snr["Mn"].T
    np.testing.assert_allclose(dose, plan.figures.dose_per_frame * np.arange(1, 17))
    assert snr[-1] / snr[3] == pytest.approx(2.0, rel=0.12)
    assert not live.state.components


@pytest.mark.parametrize("upsample", [1, 2])
def test_counts_of_a_map_for_each_electron_are_those_of_the_specimen(tmp_path, upsample) -> None:
    specimen = Specimen(counts=30.0)
    plan = specimen.plan(frames=8)
    whole = multiframe.ElementMap("all", (ENERGY[0] - 1, ENERGY[-1] + 1))
    live = multiframe.LiveSeries(
        plan, "adf", "eds", ENERGY, [whole], background=False, components=False, upsample=upsample
    )
    assert live.counts_per_electron() == {}
    acquired(tmp_path, specimen, live, plan)
    share = specimen.seen(4).mean()
    per_pixel = specimen.counts * float([1 - share, share] @ specimen.spectra.sum(axis=1))
    electrons = scan.charge_e(plan.settings.current_pa, plan.settings.dwell_s)
    assert live.counts_per_electron()["all"] == pytest.approx(per_pixel / electrons, rel=0.03)


@pytest.mark.parametrize("kind", ["dense", "events"])
def test_maps_of_a_look_are_those_of_the_whole_sum(tmp_path, kind) -> None:
    """A look reads only the channels that maps need."""
    specimen = Specimen(counts=20.0, kind=kind)
    plan = specimen.plan(frames=4)
    edge = multiframe.ElementMap("edge", (520, 560), (440, 510))
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE, edge], background=False, components=False)
    acquired(tmp_path, specimen, live, plan)
    total = live.result()
    seen = live._sums._seen
    assert (ENERGY[seen].min(), ENERGY[seen].max()) == (438, 620)
    part = live._sums.spectra.result(seen)
    assert np.array_equal(part.data, total.data[..., seen])
    assert np.array_equal(part.variance, total.variance[..., seen])
    whole = multiframe.measure_maps([LINE, edge], total, ENERGY)
    for name, found in live.state.maps.items():
        np.testing.assert_allclose(found.data, whole[name].data, rtol=1e-6)
        np.testing.assert_allclose(found.sigma, whole[name].sigma, rtol=1e-6)


def test_more_dose_shows_more_components(tmp_path) -> None:
    specimen = Specimen(counts=20.0)
    plan = specimen.plan(frames=24)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, background=False)
    acquired(tmp_path, specimen, live, plan)
    found = [count.n for count in live.state.components if count.n is not None]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (1, 2)


@pytest.mark.parametrize(
    ("n", "at_least", "sure", "words"),
    [
        (4, 4, 4, "4 components above noise"),
        (1, 1, 1, "1 component above noise"),
        (None, 4, 4, "at least 4 components above noise"),
        (None, 0, 0, "components: not to be told"),
    ],
)
def test_a_count_that_cannot_be_told_has_a_least(n, at_least, sure, words) -> None:
    count = multiframe.ComponentCount(1e5, 3, n, "", at_least)
    assert (count.sure, count.words) == (sure, words)


def test_a_series_ends_with_components_that_are_surely_there(tmp_path, monkeypatch) -> None:
    specimen = Specimen(counts=50.0)
    plan = specimen.plan(frames=6)
    count = sums.RunningSums.count
    unsure = lambda own: dataclasses.replace(count(own), n=None, reason="no gap")  # noqa: E731
    monkeypatch.setattr(sums.RunningSums, "count", unsure)
    stop = multiframe.StopConditions(components=2)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, stop=stop, background=False)
    acquired(tmp_path, specimen, live, plan)
    assert "2 components above noise (2 wanted)" in live.state.enough
    assert "at least 2 components" in live.state.summary


@pytest.mark.parametrize("background", [False, True])
def test_a_last_count_that_fails_is_told_and_keeps_the_sums(tmp_path, monkeypatch, background) -> None:
    specimen = Specimen(counts=50.0)
    plan = specimen.plan(frames=2)
    live = multiframe.LiveSignals(plan, "adf", ["eds"], background=background)
    count = sums.RunningSums.count_due

    def fail(own):
        raise MemoryError("no room to count")

    monkeypatch.setattr(sums.RunningSums, "count_due", lambda own, last=False: last or count(own))
    live_frames = acquired(tmp_path, specimen, live, plan).frames
    monkeypatch.setattr(sums.RunningSums, "count", fail)
    state = live.finish()
    assert live_frames == state.accepted == 2
    assert state.error == "no room to count"
    assert "analysis ended: no room to count" in state.summary
    assert live.results()["eds"].data.sum() > 0


def test_energy_steps_are_undone(tmp_path) -> None:
    specimen = Specimen(counts=50.0, step_ev=6.0, drift_px=(0, 0))
    plan = specimen.plan(frames=6)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE], background=False)
    acquired(tmp_path, specimen, live, plan)
    spectrum = live.result().data.sum(axis=(0, 1))
    assert ENERGY[spectrum[20:-20].argmax() + 20] == pytest.approx(540, abs=2)
    assert live.state.components[-1].n == 2


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        (multiframe.StopConditions(snr={"Mn": 3.0}), "enough: SNR of Mn"),
        (multiframe.StopConditions(components=2), "2 components above noise"),
        (multiframe.StopConditions(drift_nm=0.15), "has drifted"),
    ],
)
def test_the_series_ends_when_it_has_enough(tmp_path, stop, words) -> None:
    specimen = Specimen(counts=20.0)
    plan = specimen.plan(frames=40)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE], background=False, stop=stop)
    result = acquired(tmp_path, specimen, live, plan)
    assert words in result.reason
    assert not result.is_failure
    assert 1 <= result.frames < 40
    assert result.folder.count == result.frames == live.state.frames


def test_no_frame_is_begun_that_would_exceed_the_dose(tmp_path) -> None:
    specimen = Specimen()
    plan = specimen.plan(frames=20)
    most = 5.5 * plan.figures.dose_per_frame
    live = multiframe.LiveSeries(
        plan, "adf", "eds", ENERGY, background=False, stop=multiframe.StopConditions(total_dose=most)
    )
    result = acquired(tmp_path, specimen, live, plan)
    assert result.frames == 5
    assert "would exceed" in result.reason


def test_a_blank_frame_is_left_out_with_a_reason(tmp_path) -> None:
    specimen = Specimen()

    class Blanked(Specimen):
        def take(self, request):
            taken = specimen.take(request)
            return {name: 0 * values for name, values in taken.items()} if request.number == 4 else taken

    plan = specimen.plan(frames=8)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, background=False)
    result = acquired(tmp_path, Blanked(), live, plan)
    assert result.frames == 8
    state = live.state
    assert (state.frames, state.accepted) == (8, 7)
    assert state.reasons[4]
    assert np.isnan(state.drift_nm[4]).all()
    assert np.isnan(state.distance_nm).tolist() == [k == 4 for k in range(8)]
    assert state.distance_nm[7] == pytest.approx(0.7 * np.hypot(*specimen.drift), abs=0.06)
    assert f"drift {state.distance_nm[7]:.3g} nm" in state.summary
    assert live.result().frames == 7
    assert state.summary.startswith("7 of 8 frames")


@pytest.mark.parametrize("order", ["turned raster", "serpentine", "shuffled"])
def test_every_order_is_placed(tmp_path, order) -> None:
    specimen = Specimen()
    plan = specimen.plan(frames=6, order=order)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, background=False)
    acquired(tmp_path, specimen, live, plan)
    assert live.state.accepted == 6
    assert np.abs(live.state.drift_nm - 0.1 * np.arange(6)[:, None] * specimen.drift).max() < 0.06


def test_images_alone_need_no_spectra(tmp_path) -> None:
    specimen = Specimen()
    plan = multiframe.SeriesPlan(
        specimen.plan().region, specimen.plan(frames=3).settings, {"adf": io.SeriesSignal(SHAPE, np.float32)}
    )
    live = multiframe.LiveSeries(plan, "adf")
    folder = multiframe.SessionFolder(tmp_path).new_region()
    multiframe.acquire_series(plan, folder, lambda request: {"adf": specimen.take(request)["adf"]}, on_frame=live)
    assert live.result() is None
    assert live.state.accepted == 3
    with pytest.raises(ParameterError, match="name the spectra"):
        multiframe.LiveSeries(plan, "adf", stop=multiframe.StopConditions(components=2))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image": "bf"}, ParameterError, "no signal 'bf'"),
        ({"spectra": "eels"}, ParameterError, "no signal 'eels'"),
        ({"energy_ev": ENERGY[:-1]}, CalibrationError, f"{CHANNELS} rising"),
        ({"maps": [multiframe.ElementMap("X", (900, 950))]}, ParameterError, "holds no channel"),
        ({"maps": [LINE, LINE]}, ParameterError, "same name"),
        ({"stop": multiframe.StopConditions(snr={"Fe": 3})}, ParameterError, "the maps are none"),
        ({"upsample": 9}, ParameterError, "upsample"),
    ],
)
def test_what_the_plan_does_not_hold_is_refused(options, error, message) -> None:
    with pytest.raises(error, match=message):
        multiframe.LiveSeries(Specimen().plan(), **{"image": "adf", "spectra": "eds", "energy_ev": ENERGY, **options})


def test_impossible_conditions_are_refused() -> None:
    for options in ({"snr": {"Mn": 0}}, {"components": 0}, {"total_dose": -1}, {"drift_nm": float("nan")}):
        with pytest.raises(ParameterError):
            multiframe.StopConditions(**options)
