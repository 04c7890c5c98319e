"""Version 2: events, codecs per signal, what is lost and what is not."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esteemcore import events, io
from esteemcore.errors import FormatError, ParameterError, StreamError
from esteemcore.io import choose_codec, sparse_tiles

BOUNDED = {"name": "esteem.eels-bounded", "bound_sigma": 0.5}


def axes(**sizes):
    return tuple(io.Axis(name, size) for name, size in sizes.items())


def spectra(rng, shape=(3, 20, 17, 60), mean=0.03, dtype=np.uint16):
    return rng.poisson(mean, shape).astype(dtype)


def event_signal(counts):
    names = ("frame", "y", "x", "energy")[-counts.ndim :]
    return io.Signal(events.SparseSI.from_dense(counts), axes(**dict(zip(names, counts.shape, strict=True))), "events")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(choose_codec, "EVENT_BYTES", 5000)
    monkeypatch.setattr(choose_codec, "SPECTRA_BYTES", 5000)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_tiles_of_events_are_those_of_the_dense_image(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=3, max_size=4)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    counts = rng.poisson(data.draw(st.sampled_from([0.0, 0.2, 3.0])), shape).astype(np.int32)
    si = events.SparseSI.from_dense(counts)
    region = []
    for size in shape[:-1]:
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    padded = tuple(part.stop - part.start + data.draw(st.integers(0, 2)) for part in region)
    tile = sparse_tiles.cut(si, tuple(region), padded)
    expected = np.zeros((*padded, shape[-1]), np.int32)
    expected[tuple(slice(part.stop - part.start) for part in region)] = counts[tuple(region)]
    np.testing.assert_array_equal(tile.to_dense(), expected)
    whole = np.zeros(shape, np.int32)
    whole[tuple(region)] = counts[tuple(region)]
    np.testing.assert_array_equal(sparse_tiles.join(shape, si.dtype, [(tuple(region), tile)]).to_dense(), whole)
    start = data.draw(st.integers(0, shape[-1]))
    stop = data.draw(st.integers(start, shape[-1]))
    part = sparse_tiles.energy_range(si, start, stop)
    np.testing.assert_array_equal(part.to_dense(), counts[..., start:stop])


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_events_are_saved_in_blocks_and_read_by_frame_range_and_block(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=3, max_size=4)))
    dtype = data.draw(st.sampled_from(["u1", "u2", "i4", "u4", "i8"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    counts = rng.poisson(data.draw(st.sampled_from([0.0, 0.1, 5.0])), shape).astype(dtype)
    path = tmp_path_factory.mktemp("events") / "a.esteem"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose_codec, "EVENT_BYTES", data.draw(st.integers(1, 2000)))
        io.save(path, io.Dataset({"eds": event_signal(counts)}))
    dataset = io.load(path)
    assert dataset.format.startswith("Esteem container, version 2")
    stored = dataset.signals["eds"].data
    assert (stored.shape, stored.dtype) == (counts.shape, counts.dtype)
    np.testing.assert_array_equal(stored.load().to_dense(), counts)
    start = data.draw(st.integers(0, shape[-1] - 1))
    stop = data.draw(st.integers(start + 1, shape[-1]))
    np.testing.assert_array_equal(stored.load((start, stop)).to_dense(), counts[..., start:stop])
    frames = list(pickle.loads(pickle.dumps(stored)).frames((start, stop)))
    np.testing.assert_array_equal([f.to_dense() for f in frames], counts.reshape(-1, *shape[-3:])[..., start:stop])
    seen = np.zeros(shape, counts.dtype)
    for region, tile in stored.tiles():
        seen[region] += tile.to_dense()
    np.testing.assert_array_equal(seen, counts)
    lazy = io.to_dask(dataset.signals["eds"])
    np.testing.assert_array_equal(lazy.compute(), counts)
    key = tuple(slice(data.draw(st.integers(0, n - 1)), None) for n in shape)
    np.testing.assert_array_equal(lazy[key].compute(), counts[key])
    assert io.verify(path) == []
    with pytest.raises(TypeError, match="stored as events"):
        np.asarray(stored)


def test_reading_events_never_makes_a_dense_array(tmp_path, monkeypatch, rng):
    counts = spectra(rng)
    io.save(tmp_path / "a.esteem", io.Dataset({"eds": event_signal(counts)}))
    stored = io.load(tmp_path / "a.esteem").signals["eds"].data
    monkeypatch.setattr(events.SparseSI, "to_dense", lambda self: pytest.fail("made dense"))
    assert stored.load().count.sum() == counts.sum()
    assert stored.frame(-1, (5, 20)).count.sum() == counts[-1, ..., 5:20].sum()
    io.save(tmp_path / "b.esteem", io.load(tmp_path / "a.esteem"))
    assert io.info(tmp_path / "b.esteem").signals[0].raw_bytes == counts.nbytes


def test_each_kind_of_signal_gets_the_codec_that_suits_it(tmp_path, rng):
    frames = (rng.random((400, 64, 64)) < 0.01).astype(np.uint8)
    counts = spectra(rng)
    eels = rng.poisson(200, (24, 24, 200)).astype(np.float32)
    image = rng.random((30, 40))
    dataset = io.Dataset(
        {
            "frames": io.Signal(events.pack_bits(frames), axes(frame=400, ky=64, kx=64), "packed", (64, 64)),
            "eds": event_signal(counts),
            "eels": io.Signal(eels, axes(y=24, x=24, energy=200)),
            "adf": io.Signal(image, axes(y=30, x=40)),
        }
    )
    io.save(tmp_path / "a.esteem", dataset)
    summary = io.info(tmp_path / "a.esteem")
    codecs = {s.name: s.codec for s in summary.signals}
    expected = {"frames": "esteem.binary-frames", "eds": "esteem.events", "eels": "esteem.lossless", "adf": "zstd"}
    assert codecs == expected
    assert not any(s.lossy for s in summary.signals)
    back = io.load(tmp_path / "a.esteem").signals
    np.testing.assert_array_equal(events.unpack_bits(np.asarray(back["frames"].data), 64), frames)
    np.testing.assert_array_equal(np.asarray(back["eels"].data), eels)
    np.testing.assert_array_equal(back["eels"].data[3:9, 5, ::7], eels[3:9, 5, ::7])
    np.testing.assert_array_equal(np.asarray(back["adf"].data), image)
    source = io.source(tmp_path / "a.esteem")
    assert sum(len(chunk) for chunk in source.chunks()) == 400
    io.save(tmp_path / "b.esteem", dataset, codec={"frames": "zstd", "eels": "zstd"})
    smaller = {s.name: s.stored_bytes for s in summary.signals}
    plain = {s.name: s.stored_bytes for s in io.info(tmp_path / "b.esteem").signals}
    assert smaller["frames"] < 0.9 * plain["frames"]
    assert smaller["eels"] < 0.9 * plain["eels"]


def test_what_version_1_holds_is_written_as_version_1(tmp_path, rng):
    image = io.Signal(rng.random((30, 40)), axes(y=30, x=40))
    io.save(tmp_path / "a.esteem", io.Dataset({"adf": image}))
    assert io.info(tmp_path / "a.esteem").version == 1
    io.save(tmp_path / "b.esteem", io.Dataset({"adf": image, "eds": event_signal(spectra(rng))}))
    assert io.info(tmp_path / "b.esteem").version == 2


@pytest.mark.usefixtures("small_blocks")
def test_a_loss_is_chosen_bounded_verified_and_recorded(tmp_path, rng):
    eels = rng.poisson(80, (20, 17, 64)).astype(np.float32)
    eels[3, 4, 5] = np.nan
    dataset = io.Dataset({"eels": io.Signal(eels, axes(y=20, x=17, energy=64), metadata={"detector": "K3"})})
    io.save(tmp_path / "a.esteem", dataset, codec={"eels": BOUNDED})
    signal = io.load(tmp_path / "a.esteem").signals["eels"]
    error = np.abs(np.asarray(signal.data) - eels)
    assert np.nanmax(error / np.sqrt(eels)) <= 0.5
    assert np.isnan(signal.data[3, 4, 5])
    (loss,) = signal.metadata["loss"]
    assert signal.metadata["detector"] == "K3"
    assert loss["codec"] == "esteem.eels-bounded"
    assert loss["configuration"]["bound_sigma"] == 0.5
    assert loss["largest_error"] == pytest.approx(np.nanmax(error))
    assert loss["rms_error"] == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=0.1)
    assert 0.3 < loss["largest_error_sigma"] <= 0.5
    assert 0.15 < loss["rms_error_sigma"] < 0.32  # errors spread evenly over the bound: 0.5 / sqrt(3)
    io.save(tmp_path / "b.esteem", io.load(tmp_path / "a.esteem"))
    again = io.info(tmp_path / "b.esteem").signals[0]
    assert again.lossy
    assert len(again.loss) == 1
    assert any("lossy" in line for line in io.info(tmp_path / "a.esteem").describe())


def test_a_codec_that_breaks_its_bound_stores_nothing(tmp_path, monkeypatch, rng):
    codec = importlib.import_module("esteemcore.codec.eels_bounded").EelsBoundedCodec
    honest = codec.decode
    monkeypatch.setattr(codec, "decode", lambda self, data: honest(self, data) * 1.2)
    eels = rng.poisson(80, (8, 8, 32)).astype(np.float32)
    dataset = io.Dataset({"eels": io.Signal(eels, axes(y=8, x=8, energy=32))})
    with pytest.raises(StreamError, match="does not keep its bound"):
        io.save(tmp_path / "a.esteem", dataset, codec={"eels": BOUNDED})
    assert list(tmp_path.iterdir()) == []


def test_codecs_that_do_not_fit_are_refused(tmp_path, rng):
    packed = events.pack_bits((rng.random((4, 5, 8, 8)) < 0.1).astype(np.uint8))
    dataset = io.Dataset(
        {
            "eds": event_signal(spectra(rng)),
            "adf": io.Signal(rng.random((3, 4)), axes(y=3, x=4)),
            "eels": io.Signal(rng.random((3, 4, 5)), axes(y=3, x=4, energy=5)),
            "scan": io.Signal(packed, axes(y=4, x=5, ky=8, kx=8), "packed", (8, 8)),
        }
    )
    for codec, message in (
        ({"eds": "zstd"}, "holds events"),
        ({"adf": BOUNDED}, "stores spectra"),
        ({"adf": "esteem.binary-frames"}, "stores packed frames"),
        ({"eels": "esteem.events"}, "whole counts"),
        ({"scan": "esteem.binary-frames"}, "4 axes"),
        ({"eels": "gzip"}, "no codec 'gzip'"),
        ({"adf": "esteem.eels-blocks"}, "stores spectra"),
        ({"eels": {"name": "esteem.lossless", "speed": 3}}, "cannot be used"),
        ({"eels": {"bound_sigma": 3}}, "expected a name"),
        ({"eels": {**BOUNDED, "bound_sigma": -1}}, "bound_sigma"),
        ({"nothing": "zstd"}, "names of signals"),
        ("zstd", "names of signals"),
    ):
        with pytest.raises(ParameterError, match=message):
            io.save(tmp_path / "a.esteem", dataset, codec=codec)
    flat = io.Signal(
        events.SparseSI.from_dense(np.ones((2, 2, 2, 2, 2), int)), axes(a=2, b=2, y=2, x=2, energy=2), "events"
    )
    with pytest.raises(ParameterError, match="expected a SparseSI"):
        io.save(tmp_path / "a.esteem", io.Dataset({"eds": flat}))
    with pytest.raises(ParameterError, match="axes say"):
        io.Signal(events.SparseSI.from_dense(np.ones((2, 2, 2), int)), axes(y=2, x=2, energy=3), "events")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_blocks")
def test_damage_is_named_and_the_rest_is_readable(tmp_path, rng):
    counts = spectra(rng)
    io.save(tmp_path / "a.esteem", io.Dataset({"eds": event_signal(counts)}))
    folder = tmp_path / "a.esteem" / "signals" / "eds"
    blocks = sorted(folder.glob("c.1.*"))
    assert len(blocks) > 4
    for number, path in enumerate(blocks[:3]):
        data = bytearray(path.read_bytes())
        if number == 0:
            data[len(data) // 2] ^= 1
        elif number == 1:
            data = data[:-3]
        path.write_bytes(bytes(data) if number < 2 else blocks[-1].read_bytes()[:9])
    stored = io.load(tmp_path / "a.esteem").signals["eds"].data
    with pytest.raises(FormatError, match=r"signal 'eds': frames 1 to 1 \(block 1, 0, 0, 0\) cannot be read"):
        stored.frame(1)
    np.testing.assert_array_equal(stored.frame(2).to_dense(), counts[2])
    assert len(io.verify(tmp_path / "a.esteem")) == 3


def test_a_block_of_another_place_or_shape_is_damage(tmp_path, rng):
    for name, shape in (("a", (6, 7, 8)), ("b", (6, 8, 8))):
        io.save(tmp_path / f"{name}.esteem", io.Dataset({"eds": event_signal(spectra(rng, shape))}))
    block = "signals/eds/c.0.0.0"
    (tmp_path / "a.esteem" / block).write_bytes((tmp_path / "b.esteem" / block).read_bytes())
    assert "shape" in io.verify(tmp_path / "a.esteem")[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(codecs=[{"name": "esteem.future"}]), "codecs esteem.future .*newer"),
        (lambda c: c.update(codecs=[{"name": "esteem.events", "configuration": {"x": 1}}]), "newer"),
        (lambda c: c.update(codecs=[{"name": "esteem.lossless"}]), "instead of 'esteem.events'"),
        (lambda c: c.update(codecs=5), "lacks or spoils"),
        (lambda c: c.update(codecs=[3]), "lacks or spoils"),
        (lambda c: c.update(shape=[2**40, 2**40, 8]), "gives shape"),
        (lambda c: c.update(shape=[1.5, 7, 8]), "lacks or spoils"),
    ],
)
def test_damaged_metadata_of_a_signal(tmp_path, rng, edit, message):
    io.save(tmp_path / "a.esteem", io.Dataset({"eds": event_signal(spectra(rng, (6, 7, 8)))}))
    path = tmp_path / "a.esteem" / "signals" / "eds" / "zarr.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        io.load(tmp_path / "a.esteem")


PLAIN = """
import sys, zarr
path = sys.argv[1]
root = zarr.open_group(zarr.storage.ZipStore(path, mode="r") if path.endswith(".zip") else path, mode="r")
assert not any(name.startswith("esteemcore.io") for name in sys.modules)
for name in sys.argv[2:]:
    zarr.save(f"{name}.zarr", root["signals"][name][...])
"""


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("packed", [False, True])
def test_plain_zarr_sees_the_dense_arrays(tmp_path, rng, packed):
    """A process that imports zarr alone finds the codecs by their entry points."""
    frames = events.pack_bits((rng.random((30, 8, 20)) < 0.1).astype(np.uint8))
    counts, eels = spectra(rng), rng.poisson(100, (12, 10, 50)).astype(np.float32)
    dataset = io.Dataset(
        {
            "eds": event_signal(counts),
            "eels": io.Signal(eels, axes(y=12, x=10, energy=50)),
            "lost": io.Signal(eels, axes(y=12, x=10, energy=50)),
            "frames": io.Signal(frames, axes(frame=30, ky=8, kx=20), "packed", (8, 20)),
        }
    )
    codec = {"eels": "esteem.lossless", "lost": BOUNDED, "frames": "esteem.binary-frames"}
    io.save(tmp_path / "a.esteem", dataset, codec=codec)
    path = io.pack(tmp_path / "a.esteem") if packed else tmp_path / "a.esteem"
    subprocess.run([sys.executable, "-c", PLAIN, path, *dataset.signals], check=True, cwd=tmp_path)
    import zarr

    ours = io.load(path).signals
    for name, expected in (("eds", counts), ("eels", eels), ("frames", frames)):
        np.testing.assert_array_equal(zarr.load(tmp_path / f"{name}.zarr"), expected)
    np.testing.assert_array_equal(zarr.load(tmp_path / "lost.zarr"), np.asarray(ours["lost"].data))
