"""Exports opened by HyperSpy and its extensions, where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import io
from esteemcore.events import SparseSI
from esteemcore.io.exports import export

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that are not ours


@pytest.fixture
def hs():
    return pytest.importorskip("hyperspy.api", reason="HyperSpy is not installed")


def spectra(rng, name, last, unit):
    counts = rng.poisson(2, (5, 6, 40)).astype(np.uint16)
    axes = (io.Axis("y", 5, 0.1, unit="nm"), io.Axis("x", 6, 0.1, unit="nm"), io.Axis(last, 40, 0.5, 280, unit))
    return counts, axes, {"beam_energy_kev": 200.0, "semiangle_mrad": 20.0}


@pytest.mark.parametrize("suffix", [".hspy", ".zspy", ".nxs"])
def test_eels(hs, tmp_path, rng, suffix) -> None:
    exspy = pytest.importorskip("exspy", reason="eXSpy is not installed")
    counts, axes, geometry = spectra(rng, "eels", "energy", "eV")
    export(tmp_path / f"a{suffix}", io.Dataset({"eels": io.Signal(counts, axes)}, None, geometry))
    s = hs.load(tmp_path / f"a{suffix}", **({"nxdata_only": True} if suffix == ".nxs" else {}))
    assert isinstance(s, exspy.signals.EELSSpectrum)
    np.testing.assert_array_equal(s.data, counts)
    assert s.axes_manager.navigation_shape == (6, 5)
    assert s.axes_manager.signal_axes[0].offset == 280
    assert s.metadata.Acquisition_instrument.TEM.beam_energy == 200


@pytest.mark.parametrize("suffix", [".hspy", ".zspy", ".nxs"])
def test_eds_from_events(hs, tmp_path, rng, suffix) -> None:
    exspy = pytest.importorskip("exspy", reason="eXSpy is not installed")
    counts, axes, geometry = spectra(rng, "eds", "energy", "keV")
    signal = io.Signal(SparseSI.from_dense(counts), axes, "events")
    export(tmp_path / f"a{suffix}", io.Dataset({"eds": signal}, None, geometry))
    s = hs.load(tmp_path / f"a{suffix}", **({"nxdata_only": True} if suffix == ".nxs" else {}))
    assert isinstance(s, exspy.signals.EDSTEMSpectrum)
    np.testing.assert_array_equal(s.data, counts)


@pytest.mark.parametrize("suffix", [".hspy", ".zspy"])
def test_luminescence(hs, tmp_path, rng, suffix) -> None:
    lumispy = pytest.importorskip("lumispy", reason="LumiSpy is not installed")
    counts, axes, geometry = spectra(rng, "cl", "wavelength", "nm")
    export(tmp_path / f"a{suffix}", io.Dataset({"cl": io.Signal(counts, axes)}, None, geometry))
    s = hs.load(tmp_path / f"a{suffix}")
    assert isinstance(s, lumispy.signals.CLSpectrum)
    np.testing.assert_array_equal(s.data, counts)


@pytest.mark.parametrize("suffix", [".hspy", ".zspy"])
def test_patterns_and_images(hs, tmp_path, rng, suffix) -> None:
    data = rng.integers(0, 9, (4, 5, 8, 10)).astype(np.uint16)
    axes = tuple(io.Axis(name, size) for name, size in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    frames = io.Dataset({"frames": io.Signal(data, axes, frame_shape=(8, 10))}, None, {"pixel_mrad": 2.0})
    export(tmp_path / f"a{suffix}", frames)
    s = hs.load(tmp_path / f"a{suffix}")
    assert isinstance(s, hs.signals.Signal2D)
    assert s.axes_manager.navigation_shape == (5, 4)
    assert s.axes_manager.signal_shape == (10, 8)
    assert s.axes_manager.signal_axes[0].units == "mrad"
    np.testing.assert_array_equal(s.data, data)
    export(tmp_path / f"b{suffix}", io.Dataset({"adf": io.Signal(data[:, :, 0, 0], axes[:2])}))
    assert hs.load(tmp_path / f"b{suffix}").axes_manager.navigation_shape == ()
