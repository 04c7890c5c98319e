"""The analysis follows at its own pace and comes to the same; the scan follows the specimen."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from drifting import ENERGY, LINE, SHAPE, Specimen

from esteemcore import io, multiframe
from esteemcore.errors import ParameterError


def acquired(tmp_path, specimen, plan, on_frame, name="session", **options):
    folder = multiframe.SessionFolder(tmp_path / name).new_region()
    return multiframe.acquire_series(plan, folder, specimen.take, on_frame=on_frame, **options)


def live_of(plan, **options):
    values = {"background": False, "components": False} | options
    return multiframe.LiveSeries(plan, "adf", "eds", ENERGY, [LINE], **values)


def held(live, gate):
    """Let the analysis wait for a gate."""
    take_over = live._take

    def take(frame):
        gate.wait(60)
        take_over(frame)

    live._take = take


@pytest.mark.parametrize(("memory_bytes", "kind"), [(0, "events"), (2**21, "dense"), (2**28, "dense")])
def test_frames_never_wait_and_the_result_is_the_same(tmp_path, memory_bytes, kind) -> None:
    """While the analysis stands still all frames are acquired; later it sees each, from memory or from the disk."""
    specimen = Specimen(counts=10.0, kind=kind)
    plan = specimen.plan(frames=6)
    gate = threading.Event()
    reference, live = live_of(plan), live_of(plan)
    held(live, gate)
    acquired(tmp_path, specimen, plan, reference, "waits")
    follower = multiframe.LiveFollower(live, memory_bytes=memory_bytes)
    result = acquired(tmp_path, specimen, plan, follower)
    assert (result.frames, follower.lag, follower.state.frames) == (6, 6, 0)
    assert follower._bytes <= memory_bytes
    gate.set()
    state, wanted = follower.finish(), reference.finish()
    assert follower.lag == 0
    assert (state.frames, state.accepted) == (6, 6)
    assert np.array_equal(state.drift_nm, wanted.drift_nm)
    assert state.counts == wanted.counts
    assert np.array_equal(state.maps["Mn"].data, wanted.maps["Mn"].data, equal_nan=True)
    assert np.array_equal(state.snr["Mn"], wanted.snr["Mn"])


def test_the_series_ends_soon_after_the_goal_is_seen(tmp_path) -> None:
    specimen = Specimen(counts=20.0)
    plan = specimen.plan(frames=200)
    follower = multiframe.LiveFollower(live_of(plan, stop=multiframe.StopConditions(snr={"Mn": 3.0})))
    slow = threading.Event()

    def take(request):
        slow.wait(0.005)
        return specimen.take(request)

    folder = multiframe.SessionFolder(tmp_path).new_region()
    result = multiframe.acquire_series(plan, folder, take, on_frame=follower)
    assert "enough: SNR of Mn" in result.reason
    assert result.frames < 200
    assert follower.finish().frames == result.frames


def test_the_limit_of_the_dose_does_not_wait(tmp_path) -> None:
    specimen = Specimen()
    plan = specimen.plan(frames=20)
    most = 5.5 * plan.figures.dose_per_frame
    gate = threading.Event()
    live = live_of(plan, stop=multiframe.StopConditions(total_dose=most, snr={"Mn": 1e9}))
    held(live, gate)
    follower = multiframe.LiveFollower(live)
    result = acquired(tmp_path, specimen, plan, follower)
    gate.set()
    assert result.frames == 5
    assert "would exceed" in result.reason
    assert follower.finish().frames == 5


def test_an_analysis_that_fails_is_noted_once_and_harms_nothing(tmp_path) -> None:
    specimen = Specimen()
    plan = specimen.plan(frames=6)
    live = live_of(plan)

    def fails(frame):
        raise RuntimeError("no map")

    live._take = fails
    seen = []
    follower = multiframe.LiveFollower(live, seen.append)

    def take(request):
        while follower.lag:  # so that each frame is seen before the next one
            threading.Event().wait(0.005)
        return specimen.take(request)

    folder = multiframe.SessionFolder(tmp_path).new_region()
    result = multiframe.acquire_series(plan, folder, take, on_frame=follower)
    assert result.frames == folder.count == 6
    assert result.notes == ("live results failed (RuntimeError: no map)",)
    assert follower.finish().error == "no map"
    assert len(seen) == 5  # all but the one that failed


def test_waiting_for_the_analysis_can_be_given_up(tmp_path) -> None:
    specimen = Specimen()
    plan = specimen.plan(frames=4)
    live, gate, cancel = live_of(plan), threading.Event(), threading.Event()
    held(live, gate)
    follower = multiframe.LiveFollower(live)
    acquired(tmp_path, specimen, plan, follower)
    cancel.set()
    assert follower.finish(cancel).frames == 0
    gate.set()
    assert follower.finish().frames == 1  # the one that was being looked at


class Moving(Specimen):
    """The specimen as a scan sees it that may be moved."""

    def take(self, request):
        self.offset = np.array(request.region.center_nm) / 0.1
        return super().take(request)

    def seen(self, number):
        before = self.drift
        self.drift = before + self.offset / max(number, 1)
        try:
            return super().seen(number)
        finally:
            self.drift = before


@pytest.mark.parametrize("follows", [False, True])
def test_the_scan_follows_the_specimen(tmp_path, follows) -> None:
    specimen = Moving(counts=10.0, drift_px=(0.9, -0.6))
    plan = specimen.plan(frames=16)
    live = multiframe.LiveSeries(plan, "adf", "eds", ENERGY, background=False, components=False)
    live_or_follower = multiframe.LiveFollower(live) if follows else live

    def take(request):
        while live_or_follower.lag > 1:  # one frame behind, as with real times
            threading.Event().wait(0.002)
        return specimen.take(request)

    folder = multiframe.SessionFolder(tmp_path).new_region()
    where = multiframe.DriftCompensation(live_or_follower)
    result = multiframe.acquire_series(plan, folder, take, on_frame=live_or_follower, where=where)
    state = live_or_follower.finish() if follows else live.state
    assert state.accepted == 16
    truth = np.arange(16)[:, None] * specimen.drift
    off = state.drift_nm / 0.1 - truth  # the drift, though it was compensated
    assert np.abs(off).max() < 0.5
    assert np.sqrt(np.square(off).mean()) < 0.25
    stored = io.load(result.path).series.displacement_px
    left = truth + stored
    assert np.hypot(*left[6:].T).max() < 0.6  # 16 px without
    common = live.image_result().coverage > 12
    assert common.mean() > 0.85
    if not follows:
        whole = multiframe.process_series(result.path, components=False)
        assert np.abs(whole.drift_px - truth).max() < 0.5
        assert np.abs(whole.alignment.shifts - whole.alignment.shifts[6])[6:].max() < 1.0


def test_a_wrong_place_cannot_throw_the_scan_far() -> None:
    class Lost:
        plan = Specimen().plan()
        lag = 0

        class state:  # noqa: N801
            drift_nm = np.array([(100.0, 0.0)])

    where = multiframe.DriftCompensation(Lost())
    side = SHAPE[0] * 0.1
    assert where() == pytest.approx((-side / 4, 0))
    assert where() == pytest.approx((-side / 2, 0))


def test_drift_is_told_from_what_is_known() -> None:
    line = np.arange(10)[:, None] * np.array([0.2, -0.1])
    assert multiframe.expected_drift(line) == pytest.approx([2.0, -1.0])
    assert multiframe.expected_drift(line, 3) == pytest.approx([2.4, -1.2])
    holes = line.copy()
    holes[[4, 9]] = np.nan
    assert multiframe.expected_drift(holes) == pytest.approx([2.0, -1.0])
    assert multiframe.expected_drift(np.zeros((0, 2))).tolist() == [0, 0]
    assert multiframe.expected_drift(line[:2]).tolist() == line[1].tolist()
    with pytest.raises(ParameterError, match=r"\(frames, 2\)"):
        multiframe.expected_drift(np.zeros(3))


def test_a_displacement_that_is_nowhere_ends_the_series_and_keeps_it(tmp_path) -> None:
    specimen = Specimen()
    places = iter([(0.0, 0.0), (float("nan"), 0.0)])
    result = acquired(tmp_path, specimen, specimen.plan(frames=3), None, where=lambda: next(places))
    assert result.frames == result.folder.count == 1
    assert result.is_failure
    assert "nowhere" in result.reason


def test_runs_that_follow_each_other_go_on_in_time(tmp_path) -> None:
    """Each run counts its time from zero; the drift goes on as if there had been no pause."""
    specimen = Specimen(counts=10.0)
    plan = specimen.plan(frames=5)
    live = live_of(plan)
    folder = multiframe.SessionFolder(tmp_path).new_region()
    for _ in range(3):
        multiframe.acquire_series(plan, folder, specimen.take, on_frame=live)
    assert live.state.accepted == 15
    truth = 0.1 * np.arange(15)[:, None] * specimen.drift
    assert np.abs(live.state.drift_nm - truth).max() < 0.08


def test_frames_that_show_nothing_never_end_the_analysis(tmp_path) -> None:
    """A handful of counts in each frame, at uneven times: nothing can be placed, and that is said of each frame."""
    specimen = Specimen()
    plan = specimen.plan(frames=20)
    live = live_of(plan)
    rng = np.random.default_rng(1)

    def take(request):
        taken = specimen.take(request)
        return taken | {"adf": rng.poisson(0.01, SHAPE).astype(np.float32)}

    folder = multiframe.SessionFolder(tmp_path).new_region()
    for _ in range(2):
        result = multiframe.acquire_series(plan, folder, take, on_frame=live)
        assert result.notes == ()
    assert live.state.error == ""
    assert live.state.frames == 40
    assert live.state.accepted < 10
    assert live._alignment.mean.shape == SHAPE


def test_a_frame_of_another_area_is_stored_and_left_out(tmp_path) -> None:
    specimen, other = Specimen(counts=10.0), Specimen(counts=10.0, seed=7)
    plan = specimen.plan(frames=10)
    live = live_of(plan)

    def take(request):
        return (other if request.number == 6 else specimen).take(request)

    folder = multiframe.SessionFolder(tmp_path).new_region()
    result = multiframe.acquire_series(plan, folder, take, on_frame=live)
    assert (result.frames, folder.count, live.state.accepted) == (10, 10, 9)
    assert live.state.reasons[6]
    truth = 0.1 * np.arange(10)[:, None] * specimen.drift
    sure = np.arange(10) != 6
    assert np.abs(live.state.drift_nm - truth)[sure].max() < 0.08
