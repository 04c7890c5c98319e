"""A recorded series from its frames to sums, maps and figures."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore import register
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import record
from esteemcore.events import SparseSI
from esteemcore.multiframe.energies import EnergyAligner, EnergySettings, binned, checked_bins
from esteemcore.multiframe.maps import ElementMap, check_windows, checked_maps
from esteemcore.multiframe.processed import ProcessedSeries
from esteemcore.multiframe.sources import OpenSeries, Source, open_series
from esteemcore.multiframe.sums import RunningSums, channels_from_ev, energy_of, unusable

MOST_UPSAMPLE = 8


def process_series(
    source: Source,
    *,
    image: str | None = None,
    spectra: str | None = None,
    model: str = "scanline",
    residual: bool = False,
    upsample: int = 1,
    maps: Sequence[ElementMap] = (),
    variance: bool | str = True,
    components: bool = True,
    energy_ev: ArrayLike | None = None,
    align_energy: EnergySettings | None = None,
    bin_channels: int = 1,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> ProcessedSeries:
    r"""Register a recorded series, sum its images and spectra where the specimen was, and measure the sum.

    The images of all frames are in memory; of the spectra one frame at a time, and their sum.

    Parameters
    ----------
    source : path, io.Dataset, or sequence of them
        Folder of a region as `acquire_series` fills it, a container or another file with a series (frame, y, x, ...),
        or several: their frames follow each other. A file without a series is one frame.
    image : str, optional
        Signal that frames are registered by. Default: the only image; without any, the sum of each spectrum.
    spectra : str, optional
        Signal of spectra (y, x, energy), dense or events. Default: the only one, if there is one.
    model : {"scanline", "rigid"}
        See `esteemcore.register.align`. Visit orders that are stored with the frames are used.
    residual : bool
        Also fit what the lines leave.
    upsample : int
        Fine pixels along one side of a pixel of the frames, 1 to 8, in the sums and maps.
    maps : sequence of ElementMap
        Measured in the sum, and in the sums on the way to it.
    variance : bool or {"counting", "between"}
        See `esteemcore.register.accumulate`; it doubles the memory of the sum.
    components : bool
        Count components above noise each time that the dose has grown by 15 %.
    energy_ev : (float, float) or array_like, shape (energy,), optional
        Offset and dispersion in eV, or the energy of each channel. Default: as the files know it.
    align_energy : EnergySettings, optional
        Lay the spectra of each frame on those of the first along the energy axis, before they are summed. Default: only
        the steps that are recorded with the frames are undone.
    bin_channels : int
        So many channels are added up in the sum, after spectra were aligned; it saves as much memory.
    progress : callable, optional
        Called with the fraction done.
    cancel : threading.Event, optional
        When set, the work stops with `CancelledError`.

    Returns
    -------
    ProcessedSeries
        Frames that are blank, of another area, ambiguous, or whose spectra cannot be used are left out, with the
        reason in ``alignment.reasons``.

    Raises
    ------
    ParameterError
        If there is no series, no such signal, frames differ in size, or no frame can be used.
    CalibrationError
        If maps are asked for or spectra were stepped along the energy, and the energy axis is not known.
    FormatError
        If a file cannot be read.
    CancelledError
        If ``cancel`` was set.

    Notes
    -----
    **Energy steps.** A frame with offset o has been recorded on the energy axis :math:`E_c + o`; its channel c is moved
    by :math:`o / \Delta E` channels, so that an edge lies at one energy in all frames and defects of the camera spread.
    Channels at the ends that not all frames have reached are scaled up in the maps, not in the sum.

    **Frames whose scan was moved**, to follow the drift for example, are looked for where the recorded displacement
    leads; drift is what the specimen did.

    **Frames before alignment** are averaged over the same frames as those after it, so that the two means differ by the
    alignment alone.

    References
    ----------
    L. Jones et al., Microscopy 67, i98 (2018), doi:10.1093/jmicro/dfx125.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> y, x = np.mgrid[:48, :48]
    >>> frames = np.array([np.exp(-((y + k - 20) ** 2 + (x - 28) ** 2) / 50) for k in range(4)])
    >>> axes = (io.Axis("frame", 4), io.Axis("y", 48, 0.1, unit="nm"), io.Axis("x", 48, 0.1, unit="nm"))
    >>> result = multiframe.process_series(io.Dataset({"adf": io.Signal(frames, axes)}))
    >>> np.round(result.drift_nm[:, 0], 1).tolist()
    [0.0, 0.1, 0.2, 0.3]
    """
    upsample = checks.integer("upsample", upsample, minimum=1, maximum=MOST_UPSAMPLE)
    checks.choice("model", model, ("scanline", "rigid"))
    wanted = checked_maps(maps)
    series = open_series(source, image, spectra)
    energies = _checked_energies(series, energy_ev)
    bins = checked_bins(bin_channels, series.channels)
    if align_energy is not None and series.channels is None:
        raise ParameterError(f"energies are aligned in spectra, but {series.path} has images only")
    aligner = None if align_energy is None else EnergyAligner(align_energy, energies, cancel)
    channels = None if series.channels is None else series.channels // bins
    if energies is not None:
        energies = energies.reshape(-1, bins).mean(axis=1)
    _check_maps(series, wanted, energies)
    n, has_spectra = len(series), bool(series.spectra)
    read = Progress(n, _share(progress, 0.0, 0.1), cancel)
    images = _images(series, read)
    alignment = register.align(
        images,
        model,
        patterns=series.orders,
        residual=residual,
        scan_px=series.scan_px,
        progress=_share(progress, 0.1, 0.6 if has_spectra else 0.95),
        cancel=cancel,
    )
    _check_any(alignment, series)
    dose = np.ones(n) if series.dose is None else series.dose
    sums = _Sums(series.shape, channels, energies, wanted, upsample, variance, components and has_spectra)
    common = np.kron(alignment.common_region, np.ones((upsample, upsample), np.bool_))
    sums.region = common if common.any() else None
    steps = Progress(n, _share(progress, 0.6 if has_spectra else 0.95, 1.0), cancel)
    alignment, moved = _sum(series, images, alignment, sums, dose, aligner, bins, steps)
    _check_any(alignment, series)
    total = None if sums.spectra is None else dataclasses.replace(sums.spectra.result(), common_region=common)
    summed = dataclasses.replace(sums.image.result(), common_region=common)
    if total is not None and wanted:
        sums.measure(total)
    scan = 0.0 if series.scan_px is None else np.nan_to_num(series.scan_px)
    drift = np.where(alignment.accepted[:, None], alignment.shifts - scan, np.nan)
    drift = drift - drift[np.flatnonzero(alignment.accepted)[0]]
    before = _mean(images, alignment.accepted)
    parameters = {
        "source": series.path, "image": series.image_name, "spectra": series.spectra_name, "model": model,
        "residual": residual, "upsample": upsample, "maps": wanted, "variance": variance, "components": components,
        "energy_ev": energies, "align_energy": align_energy, "bin_channels": bins, "accepted": alignment.accepted,
    }  # fmt: skip
    return ProcessedSeries(
        alignment=alignment,
        before=before,
        image=summed,
        spectra=total,
        energy_ev=energies,
        energy_shifts=moved,
        maps=dict(sums.found),
        snr=sums.tables(),
        components=tuple(sums.counted),
        dose=dose,
        dose_unit="frames" if series.dose is None else "e/Å²",
        time_s=series.time_s,
        drift_px=drift,
        drift_nm=None if series.pixel_nm is None else drift * np.array(series.pixel_nm),
        pixel_nm=series.pixel_nm,
        figures=_figures(images, alignment, before, summed, total, sums.dose),
        source=series.path,
        image_name=series.image_name,
        spectra_name=series.spectra_name,
        provenance=record(
            "multiframe.process_series", parameters, input_digest=alignment.provenance.input_digest
        ),
    )  # fmt: skip


class _Sums(RunningSums):
    """Sums whose maps do not see the ends of the energy axis that stepped frames have not reached.

    Their figure is taken in one `region` all along, so that it can be compared from dose to dose.
    """

    region: NDArray[np.bool_] | None = None

    def measure(self, total: register.Accumulated, region: NDArray[np.bool_] | None = None) -> None:
        super().measure(_levelled(total), self.region if region is None else region)


def _levelled(total: register.Accumulated) -> register.Accumulated:
    """Return a sum as if every frame had reached every channel, as far as any did."""
    reached = total.channel_coverage
    if reached is None or np.all(reached >= 1):
        return total
    factor = np.where(reached > 0, 1 / np.where(reached > 0, reached, 1), 0.0).astype(total.data.dtype)
    noise = None if total.variance is None else total.variance * factor**2
    return dataclasses.replace(total, data=total.data * factor, variance=noise)


def _check_maps(series: OpenSeries, maps: Sequence[ElementMap], energies: NDArray[np.float64] | None) -> None:
    if series.channels is not None:
        check_windows(maps, energies)
    elif maps:
        raise ParameterError(f"maps need spectra, but {series.path} has images only; leave the maps out")


def _checked_energies(series: OpenSeries, energy_ev: ArrayLike | None) -> NDArray[np.float64] | None:
    if series.channels is None:
        return None
    energies = series.energy_ev if energy_ev is None else energy_of(energy_ev, series.channels)
    known = series.energy_offset_ev[np.isfinite(series.energy_offset_ev)]
    if known.any():
        channels_from_ev(float(known[np.flatnonzero(known)[0]]), energies)
    return energies


def _images(series: OpenSeries, steps: Progress) -> NDArray[Any]:
    """Read all images, or sum all spectra over their energy."""
    found: list[NDArray[Any]] = []
    for read in series.images or series.spectra:
        frame = read()
        if isinstance(frame, SparseSI):
            total = np.concatenate([[0], np.cumsum(frame.count, dtype=np.int64)])
            frame = np.diff(total[frame.offset]).reshape(frame.shape[:2])
        elif frame.ndim == 3:
            frame = frame.sum(axis=2, dtype=np.float64)
        found.append(np.asarray(frame))
        steps.step()
    return np.stack(found)


def _sum(
    series: OpenSeries,
    images: NDArray[Any],
    alignment: register.Alignment,
    sums: RunningSums,
    dose: NDArray[np.float64],
    aligner: EnergyAligner | None,
    bins: int,
    steps: Progress,
) -> tuple[register.Alignment, NDArray[np.float64] | None]:
    """Add the accepted frames; return the alignment without those that could not be used, and their energy shifts."""
    accepted, reasons = alignment.accepted.copy(), list(alignment.reasons)
    moved = np.full(len(images), np.nan)
    for k in range(len(images)):
        spectra = None
        if accepted[k] and series.spectra:
            spectra = series.spectra[k]()
            reasons[k] = unusable(spectra)
            if not np.isfinite(series.energy_offset_ev[k]):
                reasons[k] = "its energy offset is not known"
        if spectra is not None and not reasons[k]:
            moved[k] = bins * channels_from_ev(float(series.energy_offset_ev[k]), sums.energy_ev)
            if aligner is not None:
                spectra, moved[k], reasons[k] = _aligned(aligner, spectra, float(moved[k]))
        accepted[k] = accepted[k] and not reasons[k]
        if accepted[k]:
            shift = 0.0 if spectra is None or aligner is not None else float(moved[k]) / bins
            mask = np.isfinite(images[k])
            added = None if spectra is None else binned(spectra, bins)
            sums.add(images[k], added, alignment.field[k], float(dose[k]), shift, None if mask.all() else mask)
            sums.look()
            if sums.count_due():
                sums.counted.append(sums.count())
            del added
        del spectra
        steps.step()
    sums.look(last=True)
    if sums.count_due(last=True):
        sums.counted.append(sums.count())
    return dataclasses.replace(alignment, accepted=accepted, reasons=tuple(reasons)), moved if series.spectra else None


def _aligned(aligner: EnergyAligner, spectra: Any, offset: float) -> tuple[Any, float, str]:
    """Return the spectra of a frame, moved, by how many channels in its middle, and why it cannot be used."""
    try:
        found = aligner.align(spectra, offset)
    except ParameterError as error:
        return None, np.nan, f"its energies could not be aligned: {error}"
    return found.data, float(found.offsets[0]), ""


def _check_any(alignment: register.Alignment, series: OpenSeries) -> None:
    if not alignment.accepted.any():
        reasons = "; ".join(sorted({reason for reason in alignment.reasons if reason}))
        raise ParameterError(
            f"none of the {len(alignment)} frames of {series.path} can be used: {reasons}; register by another image, "
            "or try the rigid model"
        )


def _mean(images: NDArray[Any], accepted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of the accepted frames as they came, leaving out what is not finite."""
    total, seen = np.zeros(images.shape[1:]), np.zeros(images.shape[1:])
    for k in np.flatnonzero(accepted):
        known = np.isfinite(images[k])
        total += np.where(known, images[k], 0)
        seen += known
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(seen > 0, total / seen, np.nan)


def _figures(
    images: NDArray[Any],
    alignment: register.Alignment,
    before: NDArray[np.float64],
    after: register.Accumulated,
    total: register.Accumulated | None,
    dose: float,
) -> dict[str, float]:
    found = register.diagnose(alignment, images)
    common = alignment.common_region
    u = after.upsample
    coarse = np.asarray(after.mean, np.float64)
    coarse = coarse.reshape(common.shape[0], u, common.shape[1], u).mean(axis=(1, 3))
    figures = {
        "frames": float(len(alignment)),
        "accepted": float(alignment.accepted.sum()),
        "dose": float(dose),
        "jitter_px": float(np.sqrt((found.jitter_rms[alignment.accepted] ** 2).mean())),
        "contrast_before": _contrast(before, common),
        "contrast_after": _contrast(coarse, common),
    }
    if total is not None:
        figures |= {"counts": float(total.counts), "outside": float(total.outside)}
    return figures


def _contrast(image: NDArray[np.float64], region: NDArray[np.bool_]) -> float:
    values = image[region & np.isfinite(image)]
    return float(values.std() / abs(values.mean())) if values.size and values.mean() else float("nan")


def _share(progress: ProgressFunction | None, low: float, high: float) -> Callable[[float], None] | None:
    """Return what reports a part of the whole work."""
    return None if progress is None else lambda done: progress(low + (high - low) * done)
