"""What is committed refers only to what the disk has: in a model of a disk that forgets all that was not synced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from esteemcore import io, stream

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which file is synced")


class Disk:
    """Keeps what would be there after the power fails at any moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.content: dict[str, bytes] = {}  # of files by their names now, as it was when it was synced
        self.durable: dict[str, bytes] = {}  # by names that survive
        rename = Path.replace

        def fsync(handle: int) -> None:
            path = Path(f"/proc/self/fd/{handle}").readlink()
            if path.is_file():
                self.content[str(path)] = path.read_bytes()
            else:
                self.durable |= {name: data for name, data in self.content.items() if Path(name).parent == path}

        def replace(source: Path, target: Path) -> Path:
            if str(source) in self.content:
                self.content[str(target)] = self.content.pop(str(source))
            return rename(source, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)

    def metadata(self, path: Path) -> dict:
        return json.loads(self.durable.get(str(path / "zarr.json"), b"{}"))


def survives(disk: Disk, container: Path, signal: str) -> int:
    """Return how many frames are committed after the power has failed now; all of their blocks are there."""
    about = disk.metadata(container / "signals" / signal)
    frames = about["shape"][0] if about else 0
    block = about["chunk_grid"]["configuration"]["chunk_shape"][0] if about else 1
    blocks = {Path(name).name for name in disk.durable if Path(name).parent == container / "signals" / signal}
    needed = {".".join(["c", str(k), *"0" * (len(about["shape"]) - 1)]) for k in range(-(-frames // block))}
    assert needed <= blocks
    for name in needed:
        path = str(container / "signals" / signal / name)
        assert disk.durable[path] == Path(path).read_bytes()
    return frames


def test_frames_are_counted_when_the_disk_has_them(tmp_path, monkeypatch, rng) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "a.esteem"
    frames = rng.integers(0, 9, (100, 6, 7)).astype(np.uint8)
    with io.Writer(path, stream.Spec((10, 10), (6, 7), np.uint8), block=8, commit_every_s=1e9) as writer:
        assert disk.metadata(path)["attributes"]["esteem"]["closed"] is False
        for first in range(0, 100, 10):
            writer.append(stream.Chunk(np.arange(first, first + 10), frames[first : first + 10]))
            assert survives(disk, path, "frames") == writer.frames == (first + 10) // 8 * 8
        writer.flush()
        assert survives(disk, path, "frames") == 100
    assert disk.metadata(path)["attributes"]["esteem"]["closed"] is True


def test_a_commit_never_comes_before_its_blocks(tmp_path, monkeypatch, rng) -> None:
    """The disk may write a new name before it is told to: also then all blocks must be there first."""
    disk, path = Disk(monkeypatch), tmp_path / "a.esteem"
    renamed = Path.replace
    seen = []

    def replace(source: Path, target: Path) -> Path:
        done = renamed(source, target)
        if target == path / "signals" / "frames" / "zarr.json":
            assert str(target) in disk.content  # synced before it got its name
            disk.durable[str(target)] = disk.content[str(target)]
            seen.append(survives(disk, path, "frames"))
        return done

    monkeypatch.setattr(Path, "replace", replace)
    with io.Writer(path, stream.Spec((10, 10), (6, 7), np.uint8), block=8, commit_every_s=1e9) as writer:
        for first in range(0, 100, 25):
            frames = rng.integers(0, 9, (25, 6, 7)).astype(np.uint8)
            writer.append(stream.Chunk(np.arange(first, first + 25), frames))
    assert seen[:1] == [0]
    assert {24, 48, 72, 100} <= set(seen)


def test_a_frame_of_a_series_is_durable_when_append_returns(tmp_path, monkeypatch, rng) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "a.esteem"
    signals = {"adf": io.SeriesSignal((6, 7), np.float32), "eds": io.SeriesSignal((6, 7, 9), "u2", kind="events")}
    with io.SeriesWriter(path, signals) as writer:
        for number in range(4):
            writer.append({"adf": rng.random((6, 7), np.float32), "eds": rng.poisson(0.1, (6, 7, 9)).astype("u2")})
            assert {survives(disk, path, name) for name in signals} == {number + 1}


def test_a_saved_container_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, rng) -> None:
    disk, path = Disk(monkeypatch), tmp_path / "a.esteem"
    synced: list[set[str]] = []
    rename = Path.rename

    def renamed(source: Path, target: Path) -> Path:
        files = {str(file) for file in source.rglob("*") if file.is_file()}
        synced.append(files - set(disk.durable))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", renamed)
    axes = (io.Axis("y", 20), io.Axis("x", 30))
    io.save(path, io.Dataset({"adf": io.Signal(rng.random((20, 30)), axes)}))
    assert synced == [set()]
    assert path.is_dir()
