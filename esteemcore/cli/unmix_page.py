"""The report of unmixing: how many components, their spectra, where they are, and what is left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from esteemcore.cli import unmix_sure
from esteemcore.cli.page import Page
from esteemcore.cli.pictures import curve, gray, limits

if TYPE_CHECKING:
    from esteemcore.cli.unmix import Unmixed

_PLOT = (440, 260)
_FEW = 10


def report(found: Unmixed) -> Page:
    """Return the page of an unmixed spectrum image."""
    result, image = found.result, found.image
    page = Page("Components of a spectrum image")
    y, x, channels = (int(n) for n in image.data.shape)
    page.text(
        f"{found.source}, signal {image.name}: {y} x {x} pixels, {channels} channels, {int(result.mask.sum())} pixels "
        f"took part. Components by the method {result.method}: {len(result.spectra)}."
    )
    for note in result.notes:
        page.text(f"Note: {note}.")
    _number(page, found)
    _components(page, found)
    if found.sure is not None:
        unmix_sure.show(page, found.sure)
    _left(page, found)
    if found.maps:
        _maps(page, found)
    page.heading("How it was made")
    page.details("Provenance", result.provenance.as_dict())
    page.details("Provenance of the number of components", found.rank.provenance.as_dict())
    return page


def _number(page: Page, found: Unmixed) -> None:
    rank = found.rank
    page.heading("How many")
    unknown = f"The data do not tell the number of components; {rank.at_least} stand above noise for sure"
    says = unknown if rank.n is None else f"Recommended: {rank.n}"
    page.text(f"{says}. {rank.reason[0].upper()}{rank.reason[1:]}.")
    n = min(len(rank.curve), len(rank.noise_curve), 20)
    if n > 1:
        number, beside = np.arange(1, n + 1), _log(rank.noise_curve[:n])
        scree = curve(
            number, _log(rank.curve[:n]), x_label="component", y_label="log10 of variance", size=_PLOT, beside=beside
        )
        most = f"noise reaches {np.log10(rank.threshold):.2f}" if rank.threshold > 0 else "0 is that of the noise"
        page.pictures([(scree, "Scree", f"blue: the data, orange: noise of the same kind; {most}")])
    page.table(
        ["method", "components"],
        [[name.replace("_", " "), "not to be told" if n is None else str(n)] for name, n in rank.methods.items()],
    )


def _components(page: Page, found: Unmixed) -> None:
    result, image = found.result, found.image
    page.heading("Components")
    unit, share = f"energy / {image.energy_unit}", f"share of the {found.amount}"
    whole = "counts" if found.unit == "counts" else f"{found.amount} in {found.unit or 'the unit of the data'}"
    pictures = []
    size = np.nansum(np.abs(result.abundances), axis=(1, 2))
    mean = size @ result.spectra / size.sum()
    for k, (spectrum, amount) in enumerate(zip(result.spectra, result.abundances, strict=True)):
        low, high = limits(amount)
        at = image.energy[int(np.abs(spectrum).argmax())]
        pictures.append(
            (_curve(image.energy, _root(spectrum), unit, f"root of the {share}"),
             f"Component {k}: spectrum", f"strongest at {at:.5g} {image.energy_unit}; the root shows weak lines")
        )  # fmt: skip
        if len(result.spectra) > 1:
            plot = _curve(image.energy, spectrum - mean, unit, share)
            pictures.append((plot, f"Component {k}: difference", "from the mean spectrum of the model"))
        about = f"{whole}, {low:.4g} black to {high:.4g} white"
        pictures.append((_gray(amount, found), f"Component {k}: abundance", about))
        if result.uncertainty.abundances is not None:
            spread = result.uncertainty.abundances[k]
            about = f"standard deviation, median {float(np.nanmedian(spread)):.4g}"
            pictures.append((_gray(spread, found), f"Component {k}: sigma", about))
        if result.uncertainty.spectra is not None:
            spread = result.uncertainty.spectra[k]
            plot = _curve(image.energy, spectrum, unit, share, spread)
            about = "blue: spectrum, orange: its standard deviation"
            pictures.append((plot, f"Component {k}: sigma of the spectrum", about))
    page.pictures(pictures)
    if result.uncertainty.abundances is None:
        page.text(f"The method {result.method} gives no standard deviations; --uncertainty and --method blu do.")
    if result.smoothing_px:
        page.text(f"The abundances are smoothed by a Gaussian of {result.smoothing_px:g} px standard deviation.")
    page.text(
        "Spectra sum to 1, so abundances have the unit of the data, summed over energy. Methods that explain the "
        "data equally well may give other spectra: compare with another --method, or by --uncertainty, before a "
        "spectrum is taken for a phase."
    )


def _left(page: Page, found: Unmixed) -> None:
    result, image = found.result, found.image
    unit = "of the noise: 1 where noise alone is left" if result.noise != "gaussian" else "in the units of the data"
    page.heading("Left over")
    low, high = limits(result.residual)
    seen, about = result.residual_spectrum, f"{unit}; a line that stands out belongs to no component"
    if result.noise == "poisson":
        counts = np.nansum(result.abundances, axis=(1, 2)) @ result.spectra
        seen = np.where(counts >= _FEW, seen, np.nan)
        about += f"; channels with fewer than {_FEW} counts in all are left out"
    plot = _curve(image.energy, seen, f"energy / {image.energy_unit}", "root mean square")
    page.pictures([
        (_gray(result.residual, found), "Residual by pixel", f"{unit}; {low:.3g} black to {high:.3g} white"),
        (plot, "Residual by channel", about),
    ])  # fmt: skip


def _maps(page: Page, found: Unmixed) -> None:
    page.heading("Maps")
    pictures, rows = [], []
    for name, (element, measured) in found.maps.items():
        window = "{:g} to {:g} eV".format(*element.window_ev)
        low, high = limits(measured.data)
        pictures.append((_gray(measured.data, found), name, f"net counts, {window}"))
        pictures.append((_gray(measured.sigma, found), f"{name}: sigma", "standard deviation in counts"))
        rows.append([name, window, element.model, f"{measured.snr:.3g}", f"{low:.4g} to {high:.4g}"])
    page.pictures(pictures)
    page.table(["map", "window", "background", "SNR per pixel", "counts shown black to white"], rows)


def _gray(data: ArrayLike, found: Unmixed) -> Image.Image:
    return gray(data, nm_per_pixel=found.image.pixel_nm)


def _curve(x: ArrayLike, y: ArrayLike, x_label: str, y_label: str, beside: ArrayLike | None = None) -> Image.Image:
    return curve(x, y, x_label=x_label, y_label=y_label, size=_PLOT, beside=beside)


def _root(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the square root of magnitudes with the sign of the values."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the decadic logarithm, NaN of what is not above zero."""
    return np.log10(np.where(values > 0, values, np.nan))
