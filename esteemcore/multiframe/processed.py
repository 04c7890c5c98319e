"""A processed series: its sums, maps and figures, and the container they go into."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io, register
from esteemcore._core.provenance import Provenance
from esteemcore.multiframe.live_state import ComponentCount
from esteemcore.multiframe.maps import MeasuredMap

KEY = "processed_series"
"""Where what is not an array lies in the metadata of the container."""


@dataclasses.dataclass(frozen=True, eq=False)
class ProcessedSeries:
    """What `process_series` finds.

    Attributes
    ----------
    alignment : Alignment
        Where every sample was taken, and which frames are in the sums; in px of the frames.
    before : ndarray of float64, shape (y, x)
        Mean of the same frames as they came, not moved; NaN where nothing was measured.
    image : Accumulated
        Sum of the images on the common grid; `mean` is their mean after alignment.
    spectra : Accumulated or None
        Sum of the spectra.
    energy_ev : ndarray of float64, shape (energy,), or None
        Energy of each channel of the sum: the axis of a frame without offset.
    energy_shifts : ndarray of float64, shape (n,), or None
        By how many channels of the frames each was moved along the energy axis, in its middle; NaN for frames left out.
    maps : dict of str to MeasuredMap
        In the sum.
    snr : dict of str to ndarray of float64, shape (m, 2)
        Rows (dose so far, signal-to-noise ratio), by the names of the maps.
    components : tuple of ComponentCount
        Components above noise, as the dose grew.
    dose : ndarray of float64, shape (n,)
        Of each frame, in `dose_unit`.
    dose_unit : {"e/Å²", "frames"}
        ``"frames"`` where the dose was not recorded: each counts 1.
    time_s : ndarray of float64, shape (n,)
        When each frame was begun; NaN where that is not known.
    drift_px : ndarray of float64, shape (n, 2)
        Where each frame would lie if the scan had stayed, (dy, dx) against the first frame that is in the sums; NaN for
        frames left out.
    drift_nm : ndarray of float64, shape (n, 2), or None
        The same in nm, where the size of a pixel is known.
    pixel_nm : (float, float) or None
        Height and width of a pixel of the frames.
    figures : dict of str to float
        ``frames``, ``accepted``, ``dose`` (of the sum), ``jitter_px`` (RMS of the lines), ``contrast_before``,
        ``contrast_after`` (RMS of the mean image over its mean in the common region; noise is part of it, and adding
        frames up between pixels lowers that), ``counts`` and ``outside``
        (of the spectra).
    source, image_name, spectra_name : str or None
        What was processed.
    provenance : Provenance
    """

    alignment: register.Alignment
    before: NDArray[np.float64]
    image: register.Accumulated
    spectra: register.Accumulated | None
    energy_ev: NDArray[np.float64] | None
    energy_shifts: NDArray[np.float64] | None
    maps: dict[str, MeasuredMap]
    snr: dict[str, NDArray[np.float64]]
    components: tuple[ComponentCount, ...]
    dose: NDArray[np.float64]
    dose_unit: str
    time_s: NDArray[np.float64]
    drift_px: NDArray[np.float64]
    drift_nm: NDArray[np.float64] | None
    pixel_nm: tuple[float, float] | None
    figures: dict[str, float]
    source: str
    image_name: str | None
    spectra_name: str | None
    provenance: Provenance

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean image after alignment, shape (y * upsample, x * upsample); NaN where nothing fell."""
        return np.asarray(self.image.mean, np.float64)

    @property
    def summary(self) -> str:
        """What was found, in one line."""
        n, used = int(self.figures["frames"]), int(self.figures["accepted"])
        words = [f"{used} of {n} frames in the sum", f"{self.figures['dose']:.4g} {self.dose_unit}"]
        if self.dose_unit == "frames":
            words.pop()
        words += [f"SNR {name} {found.snr:.3g}" for name, found in self.maps.items() if math.isfinite(found.snr)]
        if self.components:
            words.append(self.components[-1].words)
        return ", ".join(words)


def save_processed(path: str | Path, result: ProcessedSeries, *, overwrite: bool = False) -> None:
    """Write sums, maps and displacements to a container that `esteemcore.io.load` opens.

    Signals ``mean_before``, ``mean``, ``image_sum``, ``coverage``, ``displacement`` (frame, y[, x], component) in px,
    with spectra also ``spectra`` (their sum) and ``spectra_variance``, and of each map ``map_NAME`` and
    ``map_NAME_sigma``. Everything else lies in the metadata, under ``processed_series``.

    Parameters
    ----------
    path : str or Path
        Folder to make, ``*.esteem`` or ``*.zarr``.
    result : ProcessedSeries
    overwrite : bool
        Replace a container that is there already.

    Raises
    ------
    ParameterError
        If the name cannot be used.
    StreamError
        If the disk is full or refuses.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> y, x = np.mgrid[:48, :48]
    >>> frames = np.array([np.exp(-((y + k - 20) ** 2 + (x - 28) ** 2) / 50) for k in range(3)])
    >>> axes = tuple(io.Axis(name, n) for name, n in zip(("frame", "y", "x"), frames.shape))
    >>> result = multiframe.process_series(io.Dataset({"adf": io.Signal(frames, axes)}))
    >>> path = tempfile.mkdtemp() + "/sum.esteem"
    >>> multiframe.save_processed(path, result)
    >>> io.load(path).signals["mean"].data.shape
    (48, 48)
    """
    io.save(path, io.Dataset(processed_signals(result), metadata={KEY: _described(result)}), overwrite=overwrite)


def processed_signals(result: ProcessedSeries) -> dict[str, io.Signal]:
    """Return the arrays of a processed series with their axes, calibrations and provenance, by the names of the files.

    Parameters
    ----------
    result : ProcessedSeries

    Returns
    -------
    dict of str to Signal
        See `save_processed`.
    """
    signals = {"mean_before": plane(result.pixel_nm, result.before, 1, "counts per pixel and frame")}
    signals["mean"] = plane(result.pixel_nm, result.mean, result.image.upsample, "counts per pixel and frame")
    signals["image_sum"] = plane(result.pixel_nm, result.image.data, result.image.upsample, "counts")
    signals["coverage"] = plane(result.pixel_nm, result.image.coverage, result.image.upsample, "samples")
    field = result.alignment.field
    names = ("frame", "y", "x")[: field.ndim - 1]
    axes = tuple(io.Axis(name, size) for name, size in zip((*names, "component"), field.shape, strict=True))
    signals["displacement"] = io.Signal(field, axes, metadata={"unit": "px", "components": ["y", "x"]})
    if (total := result.spectra) is not None:
        signals["spectra"] = plane(result.pixel_nm, total.data, total.upsample, "counts", result.energy_ev)
        if total.variance is not None:
            signals["spectra_variance"] = plane(
                result.pixel_nm, total.variance, total.upsample, "counts²", result.energy_ev
            )
    for name, found in result.maps.items():
        upsample = found.data.shape[0] // result.alignment.shape[0]
        signals[f"map_{name}"] = plane(result.pixel_nm, found.data, upsample, "counts")
        signals[f"map_{name}_sigma"] = plane(result.pixel_nm, found.sigma, upsample, "counts")
    made = result.provenance.as_dict()
    return {k: dataclasses.replace(s, metadata={**s.metadata, "provenance": made}) for k, s in signals.items()}


def plane(
    pixel_nm: tuple[float, float] | None,
    data: NDArray[Any],
    upsample: int,
    unit: str,
    energy_ev: NDArray[np.float64] | None = None,
) -> io.Signal:
    """Return an image or spectrum image with its calibrations."""
    axes = []
    for i, name in enumerate(("y", "x")):
        if pixel_nm is None:
            axes.append(io.Axis(name, data.shape[i]))
        else:
            axes.append(io.Axis(name, data.shape[i], pixel_nm[i] / upsample, unit="nm"))
    if data.ndim == 3:
        axes.append(_energy_axis(data.shape[2], energy_ev))
    return io.Signal(np.ascontiguousarray(data), tuple(axes), metadata={"unit": unit})


def _energy_axis(channels: int, energy_ev: NDArray[np.float64] | None) -> io.Axis:
    if energy_ev is None:
        return io.Axis("energy", channels)
    step = float((energy_ev[-1] - energy_ev[0]) / (channels - 1)) if channels > 1 else 1.0
    if np.allclose(np.diff(energy_ev), step, rtol=1e-6):
        return io.Axis("energy", channels, step, float(energy_ev[0]), "eV")
    return io.Axis("energy", channels, unit="eV", values=tuple(energy_ev.tolist()))


def _described(result: ProcessedSeries) -> dict[str, Any]:
    alignment = result.alignment
    return {
        "source": result.source,
        "image": result.image_name,
        "spectra": result.spectra_name,
        "accepted": alignment.accepted.tolist(),
        "reasons": list(alignment.reasons),
        "quality": _numbers(alignment.quality),
        "shifts_px": _numbers(alignment.shifts),
        "drift_px": _numbers(result.drift_px),
        "drift_nm": None if result.drift_nm is None else _numbers(result.drift_nm),
        "energy_shifts_channels": None if result.energy_shifts is None else _numbers(result.energy_shifts),
        "dose": _numbers(result.dose),
        "dose_unit": result.dose_unit,
        "time_s": _numbers(result.time_s),
        "snr_against_dose": {name: _numbers(rows) for name, rows in result.snr.items()},
        "maps": {
            name: {**dataclasses.asdict(found.element), "snr": _numbers(found.snr)}
            for name, found in result.maps.items()
        },
        "components_against_dose": [dataclasses.asdict(count) for count in result.components],
        "figures": {name: _numbers(value) for name, value in result.figures.items()},
        "variance_kind": "" if result.spectra is None else result.spectra.variance_kind,
        "provenance": result.provenance.as_dict(),
    }


def _numbers(values: Any) -> Any:
    """Return numbers for JSON, which has none that is not finite."""
    listed = np.asarray(values).tolist()
    if isinstance(listed, list):
        return [_numbers(value) for value in listed]
    return listed if not isinstance(listed, float) or math.isfinite(listed) else None
