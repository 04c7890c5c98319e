"""Several signals of spectra in one series: each summed as if it were alone, conditions asked of all together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from drifting import ENERGY, SHAPE, Specimen

from esteemcore import io, multiframe
from esteemcore.errors import ParameterError

FIRST = multiframe.ElementMap("Mn", (ENERGY[20], ENERGY[30]))
SECOND = multiframe.ElementMap("MnK", (ENERGY[20], ENERGY[30]))


class Both(Specimen):
    """Two detectors for the same electrons: the second has half of the counts of the first."""

    def take(self, request):
        taken = super().take(request)
        half = np.random.default_rng(request.number).binomial(taken["eds"].astype(int), 0.5)
        return {**taken, "half": half.astype(np.float32)}

    def plan(self, **settings):
        plan = super().plan(**settings)
        step = ENERGY[1] - ENERGY[0]
        axes = (io.Axis("y", SHAPE[0]), io.Axis("x", SHAPE[1]), io.Axis("energy", ENERGY.size, step, ENERGY[0], "eV"))
        spectra = io.SeriesSignal((*SHAPE, ENERGY.size), np.float32, axes)
        return dataclasses.replace(plan, signals={"adf": plan.signals["adf"], "eds": spectra, "half": spectra})


def run(tmp_path, live, plan, specimen):
    folder = multiframe.SessionFolder(tmp_path).new_region()
    return multiframe.acquire_series(plan, folder, specimen.take, on_frame=live)


def test_each_signal_is_as_if_it_were_alone(tmp_path) -> None:
    specimen = Both()
    plan = specimen.plan(frames=3)
    maps = {"eds": [FIRST], "half": [SECOND]}
    both = multiframe.LiveSignals(plan, "adf", ["eds", "half"], maps, background=False)
    alone = {
        name: multiframe.LiveSeries(plan, "adf", name, maps=maps[name], background=False, components=name == "eds")
        for name in maps
    }
    run(tmp_path, lambda frame: [live(frame) for live in (both, *alone.values())] and None, plan, specimen)
    for name, live in alone.items():
        assert np.array_equal(both.results()[name].data, live.result().data)
    state = both.state
    assert state.accepted == 3
    assert np.array_equal(state.drift_nm, alone["eds"].state.drift_nm)
    assert [count.n for count in state.components] == [count.n for count in alone["eds"].state.components]
    assert state.maps["MnK"].snr == alone["half"].state.maps["MnK"].snr
    assert state.maps["Mn"].snr == alone["eds"].state.maps["Mn"].snr
    assert both.counts_per_electron()["MnK"] == pytest.approx(both.counts_per_electron()["Mn"] / 2, rel=0.05)


def test_goals_are_those_of_all_signals_and_a_limit_is_one(tmp_path) -> None:
    specimen = Both()
    plan = specimen.plan(frames=5)
    maps = {"eds": [FIRST], "half": [SECOND]}
    probe = multiframe.LiveSignals(plan, "adf", ["eds", "half"], maps, components=False)
    run(tmp_path / "probe", probe, plan, specimen)
    snr = {name: curve[:, 1] for name, curve in probe.state.snr.items()}
    wanted = {
        "Mn": 0.98 * snr["Mn"][1],
        "MnK": 0.98 * snr["MnK"][3],
    }  # the second is reached later
    goals = multiframe.StopConditions(snr=wanted)
    live = multiframe.LiveSignals(plan, "adf", ["eds", "half"], maps, goals, components=False)
    result = run(tmp_path / "goals", live, plan, specimen)
    assert result.frames == 4
    assert result.reason.startswith("enough: SNR of Mn ")
    assert "SNR of MnK" in result.reason
    limit = multiframe.StopConditions(snr=wanted, total_dose=2.5 * plan.figures.dose_per_frame)
    follower = multiframe.LiveFollower(multiframe.LiveSignals(plan, "adf", ["eds", "half"], maps, limit, False))
    result = run(tmp_path / "limit", follower, plan, specimen)
    assert result.frames == 2
    assert "would exceed the dose" in result.reason


def test_a_signal_that_fails_leaves_the_others(tmp_path, monkeypatch) -> None:
    specimen = Both()
    plan = specimen.plan(frames=4)
    live = multiframe.LiveSignals(plan, "adf", ["eds", "half"], {"half": [SECOND]}, components=False)
    take = live.series["half"]._take
    monkeypatch.setattr(live.series["half"], "_take", lambda frame: 1 / 0 if frame.number == 2 else take(frame))
    result = run(tmp_path, live, plan, specimen)
    assert result.frames == 4
    assert len(result.notes) == 1
    assert "division" in result.notes[0]
    assert "division" in live.state.error
    assert live.state.accepted == 4
    assert live.series["half"].state.accepted == 2


def test_images_alone_are_followed_too(tmp_path) -> None:
    specimen = Both()
    plan = specimen.plan(frames=3)
    live = multiframe.LiveSignals(plan, "adf")
    run(tmp_path, live, plan, specimen)
    assert live.results() == {}
    assert live.finish().accepted == 3
    assert live.model == "scanline"


@pytest.mark.parametrize(
    ("maps", "stop", "message"),
    [
        ({"eds": [FIRST], "half": [FIRST]}, {}, "Mn is mapped in two signals"),
        ({"other": [FIRST]}, {}, "asked of other"),
        ({"eds": [FIRST]}, {"snr": {"MnK": 3}}, "the maps are Mn"),
    ],
)
def test_what_cannot_be_is_refused(maps, stop, message) -> None:
    plan = Both().plan(frames=1)
    with pytest.raises(ParameterError, match=message):
        multiframe.LiveSignals(plan, "adf", ["eds", "half"], maps, multiframe.StopConditions(**stop))


def test_a_map_goes_where_its_windows_lie_or_where_it_is_told() -> None:
    plan = Both().plan(frames=1)
    signals = {name: plan.signals[name] for name in ("eds", "half")}
    low, high = ENERGY[20], ENERGY[30]
    found = multiframe.maps_by_signal(f"Mn:{low}-{high} MnK@HALF:{low}-{high}:{ENERGY[5]}-{ENERGY[10]}", signals)
    assert found["eds"] == (multiframe.ElementMap("Mn", (low, high)),)
    assert found["half"][0].background_ev == (ENERGY[5], ENERGY[10])
    for text, message in (
        (f"Mn@lead:{low}-{high}", "fits no signal"),
        (f"Mn@:{low}-{high}", "is no map|name of a map"),
        (f"Mn@d@h:{low}-{high}", "is no map|name of a map"),
    ):
        with pytest.raises(ParameterError, match=message):
            multiframe.maps_by_signal(text, signals)
    with pytest.raises(ParameterError, match="maps need spectra"):
        multiframe.maps_by_signal("Mn:1-2", {})
