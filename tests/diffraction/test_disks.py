"""Bragg disks: found, placed as well as the counts allow, and told from what only looks like them."""

from __future__ import annotations

import doctest
import importlib
import threading

import numpy as np
import pytest
from known_disks import compare, pure

from esteemcore import diffraction, errors, events, simulate, stream

COLUMNS = ("frame", "y", "x", "intensity", "sigma_px", "score", "tilt_y", "tilt_x")


def assert_same(a: diffraction.DiskTable, b: diffraction.DiskTable) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_the_disks_of_grains(grains, table) -> None:
    """The marks: 99 % of the disks at 0.1 false ones per frame, 0.33 px, and what the counts allow."""
    found = compare(grains, table, pure(grains))
    assert found.recall >= 0.99
    assert found.false_per_frame <= 0.1
    assert found.rms <= 0.33
    allowed = np.sqrt(2 * np.nanmean(found.sigma**2))
    assert found.rms <= 1.3 * allowed
    bright = table.select((table.intensity > 100) & np.isfinite(table.sigma_px))
    errors_ = compare(grains, bright, pure(grains))
    assert 0.85 < np.sqrt(np.mean((errors_.errors / errors_.sigma[:, None]) ** 2)) < 1.35
    assert table.notes == ()


def test_intensities_are_the_electrons_of_the_disks(grains, table) -> None:
    first = np.searchsorted(grains.frame, np.arange(144))
    position = np.repeat(np.arange(144), np.diff(np.append(first, len(grains.frame))))
    assert (position == grains.frame).all()
    brightest = np.zeros(144)
    np.maximum.at(brightest, table.frame, table.intensity)
    single = pure(grains)
    np.testing.assert_allclose(brightest[single], grains.electrons[first[single]], rtol=0.1)
    assert np.mean(brightest[single] / grains.electrons[first[single]]) == pytest.approx(1, abs=0.03)


def test_noise_and_halos_have_hardly_any_disks(rng) -> None:
    noise = rng.poisson(0.5, (6, 6, 96, 96))
    assert len(diffraction.find_disks(noise, 4.0, passes=1)) / 36 < 0.15
    made = simulate.polycrystal((8, 8), (96, 96), grains=1, amorphous=1, electrons=20000, descan_px=2, seed=4)
    halo = made.member[1].ravel() == 1
    table = diffraction.find_disks(made.frames(), made.radius_px)
    beside = np.hypot(table.y - made.center[table.frame, 0], table.x - made.center[table.frame, 1]) > 3
    assert halo.sum() > 10
    assert (beside & halo[table.frame]).sum() / halo.sum() < 0.3
    assert len(np.unique(table.frame)) == 64  # the direct beam is there


@pytest.mark.parametrize("dtype", [np.uint8, ">u2", np.int32, np.uint64, np.float32])
def test_any_dtype_gives_the_same_disks(frames, dtype) -> None:
    """Loops are compiled for two kinds of numbers, which may round the last bit of a sum differently."""
    few = np.minimum(frames[2:4, :4], 255)
    alike, other = (np.uint16, float) if np.dtype(dtype).itemsize <= 2 else (float, np.uint16)
    tables = [diffraction.find_disks(few.astype(kind), 4.2, passes=1) for kind in (dtype, alike, other)]
    assert_same(tables[0], tables[1])
    np.testing.assert_array_equal(tables[0].frame, tables[2].frame)
    for name in ("y", "x", "sigma_px", "score", "intensity"):
        np.testing.assert_allclose(getattr(tables[0], name), getattr(tables[2], name), rtol=1e-5)


class Slices:
    """Frames that can only be cut, as those of a container in the order of the visits."""

    def __init__(self, frames: np.ndarray) -> None:
        self._frames, self.shape, self.dtype = frames, frames.shape, frames.dtype

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        assert [type(part) for part in key] == [slice, slice]
        return self._frames[key]


def test_memory_maps_and_threads_change_nothing(frames, table, tmp_path, monkeypatch) -> None:
    path = tmp_path / "frames.npy"
    np.save(path, frames)
    monkeypatch.setattr("esteemcore.diffraction.data4d.PIECE_BYTES", 5 * 96 * 96 * 2)
    assert_same(diffraction.find_disks(np.load(path, mmap_mode="r"), 4.2, threads=2), table)
    assert_same(diffraction.find_disks(frames, 4.2, threads=1), table)
    assert_same(diffraction.find_disks(Slices(frames), 4.2), table)


def test_events_and_frames_give_the_same_disks(frames) -> None:
    some = frames[4:6]
    spec = stream.Spec((2, 12), (96, 96), np.uint16)
    table = events.events_from_frames(some.reshape(24, 96, 96))
    reducer = diffraction.Disks(4.2)
    found = stream.run({"d": reducer}, spec, [stream.Chunk(np.arange(24), events=table)])["d"]
    assert_same(found, diffraction.find_disks(some, 4.2, passes=1))


def test_the_second_pass_looks_anew_where_frames_cannot_be_told_apart(frames, table) -> None:
    """Two visits of a position: which of them has which of the disks, a table does not say."""
    some = frames[4:5].reshape(12, 96, 96)
    spec = stream.Spec((1, 12), (96, 96), np.uint16)
    twice = [stream.Chunk(np.arange(12), some), stream.Chunk(np.array([7]), some[3:4])]
    first = stream.run({"d": diffraction.Disks(4.2)}, spec, twice)["d"]
    second = stream.run({"d": diffraction.Disks(4.2, found=first)}, spec, twice)["d"]
    np.testing.assert_array_equal(first.frame, second.frame)
    here = first.frame == 7
    np.testing.assert_array_equal(first.y[here], second.y[here])
    assert (first.y[~here] != second.y[~here]).any()
    with pytest.raises(errors.ParameterError, match=r"found on a scan of \(1, 12\)"):
        diffraction.Disks(4.2, found=first).init(stream.Spec((3, 4), (96, 96), np.uint16))
    with pytest.raises(errors.ParameterError, match="take one that Disks has made"):
        diffraction.Disks(4.2, found=diffraction.DiskTable(*(np.zeros(0, int),) * 6))


def test_mirrored_patterns_have_mirrored_disks(frames) -> None:
    some = frames[3:5]
    straight = diffraction.find_disks(some, 4.2, passes=1)
    turned = diffraction.find_disks(np.ascontiguousarray(some.transpose(0, 1, 3, 2)), 4.2, passes=1)
    assert abs(len(straight) - len(turned)) <= 2  # equal scores next to each other are taken in the order of rows
    bright, other = (t.select(t.intensity > 60) for t in (straight, turned))
    for frame in range(24):
        a, b = (t.select(t.frame == frame) for t in (bright, other))
        distance = np.hypot(a.y[:, None] - b.x, a.x[:, None] - b.y)
        assert (distance.min(axis=1) < 0.1).all()


def test_the_second_pass_makes_places_surer(grains, frames, table) -> None:
    single = pure(grains)
    once = diffraction.find_disks(frames, 4.2, passes=1)
    first, second = (compare(grains, t, single) for t in (once, table))
    assert second.rms < 0.95 * first.rms
    learnt = diffraction.learn_structure(once, (96, 96), 4.2)
    assert len(learnt.place) > 20
    beam = np.hypot(*learnt.place.T).argmin()
    assert np.hypot(*learnt.place[beam]) < 0.5


def test_a_known_gradient_across_a_reflection_is_learnt(rng) -> None:
    y, x = np.mgrid[:48, :48]
    frames = np.empty((8, 8, 48, 48), np.int64)
    for i in range(64):
        at = rng.uniform((29.5, 33.5), (30.5, 34.5))
        beam = np.clip(2.9 - np.hypot(y - 16, x - 14) / 1.6, 0, 1)
        disk = np.clip(2.9 - np.hypot(y - at[0], x - at[1]) / 1.6, 0, 1) * (1 + 0.6 * (x - at[1]) / 3.8)
        frames.reshape(64, 48, 48)[i] = rng.poisson(40 * beam + 4 * disk + 0.2)
    learnt = diffraction.learn_structure(diffraction.find_disks(frames, 3.8, passes=1), (48, 48), 3.8)
    which = np.hypot(*(learnt.place - (14, 20)).T).argmin()
    np.testing.assert_allclose(learnt.inside[which][:2], (0, 0.6), atol=0.12)
    assert (learnt.sd[which][:2] < 0.2).all()


def test_bad_pixels_are_left_out(grains, frames) -> None:
    """Dead rows, a hot pixel and a beam stop: the mask gives back what it can."""
    mask = np.ones((96, 96), bool)
    mask[60:62], mask[20, 30] = False, False
    y, x = np.mgrid[:96, :96]
    mask[np.hypot(y - 48, x - 48) < 7] = False
    broken = np.where(mask, frames[:4], 0).astype(np.float64)
    broken[..., 20, 30], broken[..., 60, :] = 60000, np.nan
    table = diffraction.find_disks(broken, 4.2, mask=mask, center=(48, 48), passes=1)
    assert np.hypot(table.y - 48, table.x - 48).min() > 4
    assert np.hypot(table.y - 20, table.x - 30)[table.intensity > 1000].size == 0
    whole = diffraction.find_disks(frames[:4], 4.2, passes=1)
    clear = (np.hypot(whole.y - 48, whole.x - 48) > 16) & (np.abs(whole.y - 60.5) > 12) & (whole.score > 6)
    clear &= np.hypot(whole.y - 20, whole.x - 30) > 12
    found = 0
    for frame, v, u in zip(whole.frame[clear], whole.y[clear], whole.x[clear], strict=True):
        mine = table.frame == frame
        found += bool((np.hypot(table.y[mine] - v, table.x[mine] - u) < 1).any())
    assert found >= 0.97 * clear.sum()


@pytest.mark.parametrize("wrong", [2.9, 5.6])
def test_another_radius_is_noticed(frames, wrong) -> None:
    assert any("radius" in note for note in diffraction.find_disks(frames, wrong, passes=1).notes)


def test_what_cannot_be_right_is_told(frames) -> None:
    saturated = np.minimum(frames[:2].astype(int) * 8, 255).astype(np.uint8)
    assert any("saturated at 24 of 24" in note for note in diffraction.find_disks(saturated, 4.2).notes)
    six_bits = np.minimum(frames[:2].astype(int) * 8, 63).astype(np.uint16)
    six_bits[0, 0, 40, 40] = 64  # a counter of more bits, then
    assert any("saturated at 23 of 24" in note for note in diffraction.find_disks(six_bits, 4.2, passes=1).notes)
    empty = diffraction.find_disks(np.zeros((2, 3, 32, 32), np.uint8), 4.0)
    assert len(empty) == 0
    assert "no disk" in empty.notes[0]
    np.testing.assert_array_equal(empty.visits, np.ones((2, 3)))
    bad = frames[:1, :2].astype(np.float32)
    bad[0, 1, 7, 9] = np.nan
    with pytest.raises(errors.ParameterError, match=r"pixel \(7, 9\) of the frame at position 1 is nan"):
        diffraction.find_disks(bad, 4.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"radius_px": 0}, "more than zero"),
        ({"radius_px": 1.0}, "1.5 px or more"),
        ({"radius_px": 60}, "do not fit on frames of 96 x 96"),
        ({"radius_px": 4, "significance": 0.5}, "2 or more"),
        ({"radius_px": 4, "mask": np.zeros((96, 96), bool)}, "leaves no room"),
        ({"radius_px": 4, "mask": np.ones((9, 9), bool)}, r"mask has shape \(9, 9\)"),
        ({"radius_px": 4, "center": 5}, "two numbers"),
        ({"radius_px": 4, "distortion": 3 * np.eye(2)}, "stretches by 3"),
        ({"radius_px": 4, "distortion": np.eye(3)}, "two by two"),
        ({"radius_px": 4, "passes": 3}, "passes is 3"),
    ],
)
def test_bad_parameters(frames, arguments, message) -> None:
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.find_disks(frames[:1, :1], **arguments)


@pytest.mark.parametrize(
    ("data", "message"),
    [(np.zeros((3, 4, 5)), "four axes"), (np.zeros((0, 3, 32, 32)), "none of them empty"), ("x", "type str"),
     (np.zeros((1, 1, 32, 32), complex), "complex")],
)  # fmt: skip
def test_bad_data(data, message) -> None:
    with pytest.raises(errors.ParameterError, match=message):
        diffraction.find_disks(data, 4.0)


def test_progress_and_cancel(frames, monkeypatch) -> None:
    monkeypatch.setattr("esteemcore.diffraction.data4d.PIECE_BYTES", 12 * 96 * 96 * 2)
    seen: list[float] = []
    diffraction.find_disks(frames[:3], 4.2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(errors.CancelledError):
        diffraction.find_disks(frames[:3], 4.2, cancel=cancel)


def test_the_map_of_bragg_vectors(grains, table) -> None:
    inner = table.select((np.abs(table.y - 47.5) < 47) & (np.abs(table.x - 47.5) < 47))
    found = diffraction.bragg_vector_map(inner, (96, 96))
    assert found.shape == (192, 192)
    assert found.sum() == pytest.approx(len(inner))
    origin = table.brightest(144)
    np.testing.assert_allclose(origin, grains.center, atol=0.2)
    centered = diffraction.bragg_vector_map(table, (96, 96), oversampling=1, origin=origin)
    assert centered[48, 48] == pytest.approx(144)
    counts = diffraction.bragg_vector_map(inner, (96, 96), weighted=True)
    assert counts.sum() == pytest.approx(inner.intensity.sum(), rel=1e-5)
    with pytest.raises(errors.ParameterError, match="one for each"):
        diffraction.bragg_vector_map(table, (96, 96), origin=origin[:3])


def test_tables(table) -> None:
    strong = table.select(table.score > 10)
    assert 0 < len(strong) < len(table)
    assert strong.per_position((12, 12)).sum() == len(strong)
    with pytest.raises(errors.ParameterError, match="there are 2 disks"):
        diffraction.DiskTable(np.array([0, 1]), *(np.zeros(3),) * 5)
    with pytest.raises(errors.ParameterError, match="flat integer scan position"):
        diffraction.DiskTable(np.zeros(1), *(np.zeros(1),) * 5)


@pytest.mark.parametrize("name", ["poly_a", "poly_b"])
def test_marks_on_the_shared_polycrystals(shared_data, name) -> None:
    with np.load(shared_data / "diffraction" / f"{name}.npz") as z:
        data = z["data"][:20]
    with np.load(shared_data / "diffraction" / f"{name}_truth.npz") as z:
        spots, member, radius = z["spots"], z["member"][:-1, :20], {"poly_a": 5.0761, "poly_b": 4.0609}[name]
    order = np.argsort(spots["y"].astype(int) * 64 + spots["x"], kind="stable")
    spots = spots[order]
    truth = simulate.Polycrystal(
        (20, 64), (128, 128), radius, np.eye(2), (1, 0), np.zeros((0, 2)), np.zeros((20, 64), np.int64), member,
        np.zeros((0, 4)), spots["y"].astype(np.int64) * 64 + spots["x"], spots["py"].astype(float),
        spots["px"].astype(float), spots["amp"].astype(float), np.zeros((0, 3)), np.zeros((0, 1)), False,
    )  # fmt: skip
    found = compare(truth, diffraction.find_disks(data, radius), pure(truth))
    assert found.recall >= 0.99
    assert found.false_per_frame <= 0.1
    assert found.rms <= 0.3


@pytest.mark.parametrize("module", ["table", "find"])
def test_examples(module) -> None:
    result = doctest.testmod(importlib.import_module(f"esteemcore.diffraction.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
