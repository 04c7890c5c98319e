"""``esteem unmix FILE``: which spectra an image is made of, how much of each is where, and what is left."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io, multiframe, spectral
from esteemcore.cli import unmix_number, unmix_sure
from esteemcore.cli.options import add_overwrite, bar, report_beside, stem
from esteemcore.cli.spectrum_image import SpectrumImage, counts_of_pixels, open_mask, open_spectra
from esteemcore.cli.unmix_page import report
from esteemcore.errors import ParameterError
from esteemcore.io.container import check_path
from esteemcore.spectral.methods import METHODS


@dataclasses.dataclass(frozen=True, eq=False)
class Unmixed:
    """Everything that was found in a spectrum image.

    Attributes
    ----------
    source : str
        The file.
    image : SpectrumImage
    rank : Rank
    result : Unmixing
    sure : UnmixingUncertainty or None
        How sure the result is, where that was asked for.
    maps : dict of str to (ElementMap, EdgeMap)
        The maps that were asked for.
    """

    source: str
    image: SpectrumImage
    rank: spectral.Rank
    result: spectral.Unmixing
    sure: spectral.UnmixingUncertainty | None
    maps: dict[str, tuple[multiframe.ElementMap, spectral.EdgeMap]]

    @property
    def unit(self) -> str:
        """Unit of the abundances: counts, that of the image, or nothing where it is not known."""
        return "counts" if self.result.noise == "poisson" else self.image.value_unit

    @property
    def amount(self) -> str:
        """What abundances are, in one word."""
        return "counts" if self.unit == "counts" else "intensity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, help="a container of Esteem or any file that RosettaSciIO reads")
    parser.add_argument(
        "out",
        type=Path,
        nargs="?",
        help="container to make, *.esteem or *.zarr; the report lies beside it (default: NAME_unmixed.esteem, here)",
    )
    parser.add_argument("--components", default="auto", metavar="N", help="how many, or auto (%(default)s)")
    parser.add_argument("--method", choices=("auto", *METHODS), default="auto", help="default: from the data")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="standard deviations by drawn data, posterior, other starts and methods; takes 30 to 100 times as long",
    )
    parser.add_argument("--signal", metavar="NAME", help="which signal, when there are several spectrum images")
    parser.add_argument("--mask", type=Path, metavar="FILE", help="image that is zero or NaN where pixels are left out")
    parser.add_argument("--least-counts", type=float, metavar="N", help="leave out pixels with fewer counts in all")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME:START-STOP[:BSTART-BSTOP[+...]]",
        help="map of an element: window and background windows in eV; may be given several times",
    )
    parser.add_argument("--energy", nargs=2, type=float, metavar=("OFFSET", "DISPERSION"), help="of the spectra, in eV")
    parser.add_argument("--noise", choices=("auto", "poisson", "gaussian"), default="auto", help="default: %(default)s")
    parser.add_argument("--gain", type=float, default=1.0, metavar="G", help="counts per electron (%(default)s)")
    parser.add_argument("--readout-sigma", type=float, default=0.0, metavar="R", help="readout noise in counts")
    parser.add_argument("--smoothing-px", type=float, metavar="PX", help="smooth abundances; default: from the counts")
    parser.add_argument("--seed", type=int, default=0, help="of random numbers (%(default)s)")
    add_overwrite(parser)


def run(arguments: argparse.Namespace) -> int:
    """Unmix, write container and report, and print what was found."""
    wanted = components(arguments.components)
    maps = multiframe.maps_from_words(" ".join(arguments.map))
    out = check_path(arguments.out or Path(f"{stem(arguments.file)}_unmixed.esteem"))
    page = report_beside(out, [arguments.file], "spectra", overwrite=arguments.overwrite)
    image = open_spectra(arguments.file, arguments.signal, arguments.energy)
    mask = _mask(arguments, image)
    measured = {element.name: (element, _map(image, element, arguments)) for element in maps}
    with bar("counting components") as progress:
        rank = spectral.estimate_rank(
            image.data,
            noise=arguments.noise,
            gain=arguments.gain,
            readout_sigma=arguments.readout_sigma,
            mask=mask,
            seed=arguments.seed,
            progress=progress,
        )
    n = wanted if wanted is not None else unmix_number.number_of(rank)
    if not n:
        raise ParameterError(f"how many components there are: {rank.reason}. Say how many with --components N")
    given: dict[str, Any] = {
        "method": arguments.method,
        "mask": mask,
        "seed": arguments.seed,
        "noise": arguments.noise,
        "gain": arguments.gain,
        "readout_sigma": arguments.readout_sigma,
        "smoothing_px": arguments.smoothing_px,
    }
    with bar("unmixing") as progress:
        sure = spectral.uncertainty(image.data, n, progress=progress, **given) if arguments.uncertainty else None
        result = spectral.unmix(image.data, n, progress=progress, **given) if sure is None else sure.result
    found = Unmixed(str(arguments.file), image, rank, result, sure, measured)
    io.save(out, io.Dataset(signals(found), metadata={"unmixing": described(found)}), overwrite=arguments.overwrite)
    report(found).save(page)
    for line in lines(found):
        print(line)
    print(f"wrote {out} and {page}")
    return 0


def components(word: str) -> int | None:
    """Return how many components were asked for, None for auto."""
    if word == "auto":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise ParameterError(f"--components is {word!r}; expected a number above zero, or auto")
    return int(word)


def lines(found: Unmixed) -> list[str]:
    """Return what was found, line by line."""
    n, rank, result = len(found.result.spectra), found.rank, found.result
    says = f"at least {rank.at_least}" if rank.n is None else rank.n
    unit = found.image.energy_unit
    text = [
        f"{n} component{'' if n == 1 else 's'} by {result.method}",
        f"components above noise: {says} ({rank.reason})",
    ]
    for k, (spectrum, share) in enumerate(zip(result.spectra, shares(result), strict=True)):
        at = found.image.energy[int(np.abs(spectrum).argmax())]
        text.append(f"component {k}: {100 * share:.3g} % of the {found.amount}, strongest at {at:.5g} {unit}")
    text.append(f"left over: {left(result):.3f} {'of the noise' if result.noise != 'gaussian' else 'RMS'}")
    if found.sure is not None:
        text += unmix_sure.lines(found.sure)
    text += [f"map {name}: SNR {measured.snr:.3g} per pixel" for name, (_, measured) in found.maps.items()]
    return [*text, *(f"note: {note}" for note in result.notes)]


def shares(result: spectral.Unmixing) -> NDArray[np.float64]:
    """Return the part of each component in the magnitudes of all."""
    size = np.nansum(np.abs(result.abundances), axis=(1, 2)) * np.abs(result.spectra).sum(axis=1)
    total: NDArray[np.float64] = size / size.sum()
    return total


def left(result: spectral.Unmixing) -> float:
    """Return the root mean square of the residual over the pixels that took part."""
    return float(np.sqrt(np.nanmean(result.residual**2)))


def signals(found: Unmixed) -> dict[str, io.Signal]:
    """Return the arrays of the result with their axes, by the names in the container."""
    result, energy = found.result, found.image.energy_axis
    places, component = found.image.axes[:2], io.Axis("component", len(found.result.spectra))
    unit = {"unit": found.unit} if found.unit else {}
    made = {
        "abundances": io.Signal(result.abundances, (component, *places), metadata=unit),
        "spectra": io.Signal(result.spectra, (component, energy)),
        "residual": io.Signal(result.residual, places),
        "residual_spectrum": io.Signal(result.residual_spectrum, (energy,)),
        "mask": io.Signal(result.mask.astype(np.uint8), places),
    }
    spread = result.uncertainty
    if spread.abundances is not None:
        made["abundances_sigma"] = io.Signal(spread.abundances, (component, *places), metadata=unit)
    if spread.spectra is not None:
        made["spectra_sigma"] = io.Signal(spread.spectra, (component, energy))
    if found.sure is not None:
        made |= unmix_sure.signals(found.sure, component, places, energy, unit)
    for name, (_, measured) in found.maps.items():
        made[f"map_{name}"] = io.Signal(measured.data, places, metadata={"unit": "counts"})
        made[f"map_{name}_sigma"] = io.Signal(measured.sigma, places, metadata={"unit": "counts"})
    return made


def described(found: Unmixed) -> dict[str, Any]:
    """Return what is no array, ready for JSON."""
    rank, result = found.rank, found.result
    return {
        "source": found.source,
        "signal": found.image.name,
        "method": result.method,
        "noise": result.noise,
        "smoothing_px": result.smoothing_px,
        "notes": list(result.notes),
        "uncertainty": None if found.sure is None else unmix_sure.described(found.sure),
        "rank": {
            **unmix_number.described(rank),
            "curve": rank.curve.tolist(),
            "noise_curve": rank.noise_curve.tolist(),
        },
        "maps": {
            name: {**dataclasses.asdict(element), "provenance": measured.provenance.as_dict()}
            for name, (element, measured) in found.maps.items()
        },
        "provenance": result.provenance.as_dict(),
    }


def _mask(arguments: argparse.Namespace, image: SpectrumImage) -> NDArray[np.bool_] | None:
    """Return the pixels that take part, None for all."""
    shape = (int(image.data.shape[0]), int(image.data.shape[1]))
    mask = None if arguments.mask is None else open_mask(arguments.mask, shape)
    if arguments.least_counts is None:
        return mask
    enough = counts_of_pixels(image.data) >= arguments.least_counts
    both: NDArray[np.bool_] = enough if mask is None else mask & enough
    if not both.any():
        raise ParameterError(f"no pixel that the mask leaves has {arguments.least_counts:g} counts; ask for fewer")
    return both


def _map(image: SpectrumImage, element: multiframe.ElementMap, arguments: argparse.Namespace) -> spectral.EdgeMap:
    model = "constant" if element.model == "none" else element.model
    return spectral.edge_map(
        image.data,
        image.energies_ev(),
        element.window_ev,
        element.background_ev,
        model,
        gain=arguments.gain,
        readout_sigma=arguments.readout_sigma,
    )
