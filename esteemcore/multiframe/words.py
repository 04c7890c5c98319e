"""The figures of a series as a microscopist reads them."""

from __future__ import annotations

from collections.abc import Iterable

from esteemcore import scan
from esteemcore.multiframe.plan import SeriesPlan, spent
from esteemcore.multiframe.region import Region
from esteemcore.multiframe.xray_counts import CLEAR, LOST, XrayLine, predict_xrays


def figures_in_words(plan: SeriesPlan) -> tuple[str, ...]:
    """Return what a series costs, line by line.

    Parameters
    ----------
    plan : SeriesPlan

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> settings = multiframe.SeriesSettings(current_pa=17, dwell_s=1e-3, frames=230, flyback_s=5e-3)
    >>> figures_in_words(multiframe.SeriesPlan(multiframe.fit_region((11.2, 11.2), 0.056), settings))[1]
    'Time: 41 s per frame, 2 h 37 min in all'
    """
    figures, region, settings = plan.figures, plan.region, plan.settings
    rows, columns = region.shape
    height, width = region.fov_nm
    areas = f", {settings.areas} areas" if settings.areas > 1 else ""
    size = ""
    if figures.bytes_per_frame:
        rate = f"{_bytes(figures.bytes_per_frame / figures.frame_time_s)}/s"
        size = (
            f"Disk: at most {_bytes(figures.bytes_per_frame)} per frame, {rate}, {_bytes(figures.total_bytes)} in all"
        )
    lines = (
        f"Region: {rows} x {columns} pixels, {height:.4g} x {width:.4g} nm{areas}",
        f"Time: {_time(figures.frame_time_s)} per frame, {_time(figures.series_time_s)} in all",
        f"Dose: {_dose(figures.dose_per_frame)} e/Å² per frame, {_dose(figures.total_dose)} e/Å² in all; "
        f"{_dose(figures.total_dose_blanked_between)} with flyback, "
        f"{_dose(figures.total_dose_with_overhead)} if the beam stays on between frames",
        f"Dose rate: {_dose(figures.dose_rate_frame)} e/Å²/s in a frame, "
        f"{_dose(figures.dose_rate_series)} e/Å²/s over the series",
        f"Pixel charge: {_dose(figures.pixel_charge_e)} e",
        size,
    )
    return tuple(line for line in lines if line)


def spent_in_words(ledger: scan.DoseLedger, region: Region) -> str:
    """Return what a region has had so far, with what for.

    Parameters
    ----------
    ledger : DoseLedger
    region : Region
    """
    mean, highest, kinds = spent(ledger, region)
    if not highest and not kinds:
        return "So far here: nothing"
    total = sum(kinds.values())
    shares = ", ".join(f"{kind} {100 * charge / total:.0f} %" for kind, charge in kinds.items() if total)
    words = f"So far here: {_dose(mean)} e/Å² on average, {_dose(highest)} at most"
    return f"{words}; charge around: {shares}" if shares else words


def xrays_in_words(plan: SeriesPlan, lines: Iterable[XrayLine], motifs: int = 1) -> tuple[str, ...]:
    """Return what X-rays to expect, line by line, and whether they show the columns.

    Parameters
    ----------
    plan : SeriesPlan
        The frames of all its areas are added up.
    lines : iterable of XrayLine
    motifs : int
        Repeats of a motif that are averaged at last.

    Examples
    --------
    >>> from esteemcore import multiframe
    >>> settings = multiframe.SeriesSettings(current_pa=17, dwell_s=1e-3, frames=230)
    >>> plan = multiframe.SeriesPlan(multiframe.fit_region((11.2, 11.2), 0.056), settings)
    >>> print(*xrays_in_words(plan, multiframe.lines_from_words("Ag:0.3:0.2217")))
    Ag, columns 0.3 nm apart: 7.5 counts/nm² per frame (lost), 1,725 in the series (marginal)
    """
    figures, words = plan.figures, []
    for line in lines:
        found = predict_xrays(line, figures.dose_per_frame, figures.frames, motifs)
        parts = [f"{_counts(found.frame)} counts/nm² per frame ({_judged(found.frame_snr)})"]
        if figures.frames > 1:
            parts.append(f"{_counts(found.series)} in the series ({_judged(found.series_snr)})")
        if motifs > 1:
            parts.append(f"{_counts(found.average)} over {motifs:,} motifs ({_judged(found.average_snr)})")
        words.append(f"{line.name}, columns {line.spacing_nm:.3g} nm apart: {', '.join(parts)}")
    return tuple(words)


def _judged(snr: float) -> str:
    return "lost" if snr < LOST else "marginal" if snr < CLEAR else "clear"


def _counts(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _dose(value: float) -> str:
    return f"{value:,.0f}" if 100 <= value < 1e9 else f"{value:.3g}"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{seconds / 60:.3g} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
