"""Who made the data, on what, and how others may use and cite them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

from esteemcore._core.errors import ParameterError

KEY = "credits"
"""Where they are in the metadata of a data set."""

_ORCID = re.compile(r"(?:https?://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])", re.IGNORECASE)
_LICENSES = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Author:
    """One of the people who made the data.

    Parameters
    ----------
    name : str
        As it is cited, e.g. ``"Curie, Marie"``.
    orcid : str or None
        ``"0000-0002-1825-0097"``, with or without ``https://orcid.org/``; the check digit is verified.
    affiliation : str or None
        Laboratory or institution.
    role : str or None
        What this person did, e.g. ``"operator"``.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    role: str | None = None

    def __post_init__(self) -> None:
        _set(self, "name", _text("the name of an author", self.name))
        for field in ("affiliation", "role"):
            _set(self, field, _optional(f"{field} of {self.name}", getattr(self, field)))
        if self.orcid is not None:
            _set(self, "orcid", _checked_orcid(self.name, self.orcid))

    @classmethod
    def of(cls, given: Author | Mapping[str, Any] | str) -> Self | Author:
        """Return an author given as such, as its entries by name, or by the name alone."""
        if isinstance(given, Author):
            return given
        if isinstance(given, str):
            return cls(given)
        return _from_entries(cls, "an author", given)


@dataclasses.dataclass(frozen=True, slots=True)
class Credits:
    """What makes data findable, citable and usable by others; every entry may be left out.

    The names are those of DataCite where it has one. Kept in the metadata of a data set under ``"credits"``.

    Parameters
    ----------
    title : str or None
        One line.
    authors : sequence of Author, mapping or str
        People, in the order of citation.
    license : str or None
        SPDX identifier, e.g. ``"CC-BY-4.0"`` or ``"CC0-1.0"``; see https://spdx.org/licenses.
    description : str or None
        What was done and why.
    instrument : str or None
        Microscope and detectors.
    sample : str or None
        Specimen, its preparation, where it is kept.
    identifiers : sequence of str
        Of these data: DOI, handle, local number.
    related : sequence of str
        DOIs or addresses of papers and of other data.
    keywords : sequence of str
        Words to be found by.
    funding : sequence of str
        Funder and number of the grant.

    Raises
    ------
    ParameterError
        If an entry cannot be right; the message says what was expected.

    Examples
    --------
    >>> from esteemcore import io
    >>> made = io.Credits("Graphene at 60 kV", [io.Author("Carberry, Josiah", "0000-0002-1825-0097")], "CC-BY-4.0")
    >>> made.authors[0].orcid
    '0000-0002-1825-0097'
    """

    title: str | None = None
    authors: tuple[Author, ...] = ()
    license: str | None = None
    description: str | None = None
    instrument: str | None = None
    sample: str | None = None
    identifiers: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    funding: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("title", "description", "instrument", "sample"):
            _set(self, field, _optional(field, getattr(self, field)))
        if self.license is not None and not (isinstance(self.license, str) and _LICENSES.fullmatch(self.license)):
            raise ParameterError(
                f"license is {self.license!r}; expected an SPDX identifier such as 'CC-BY-4.0' or 'CC0-1.0', "
                "see https://spdx.org/licenses"
            )
        _set(self, "authors", tuple(Author.of(author) for author in _several("authors", self.authors, Author)))
        for field in ("identifiers", "related", "keywords", "funding"):
            _set(self, field, tuple(_text(field, item) for item in _several(field, getattr(self, field), str)))

    @classmethod
    def of(cls, given: Credits | Mapping[str, Any]) -> Self | Credits:
        """Return credits given as such or as their entries by name, as they are in metadata.

        Raises
        ------
        ParameterError
            If an entry is unknown or cannot be right.
        """
        return given if isinstance(given, Credits) else _from_entries(cls, "credits", given)

    def describe(self) -> list[str]:
        """Return what is known, line by line."""
        people = [
            a.name + "".join(f" ({part})" for part in (a.orcid and f"ORCID {a.orcid}", a.affiliation, a.role) if part)
            for a in self.authors
        ]
        entries = {
            "title": self.title,
            "authors": "; ".join(people),
            "license": self.license,
            "instrument": self.instrument,
            "sample": self.sample,
            "identifiers": ", ".join(self.identifiers),
            "related": ", ".join(self.related),
            "keywords": ", ".join(self.keywords),
            "funding": "; ".join(self.funding),
            "description": self.description,
        }
        return [f"{name}: {value}" for name, value in entries.items() if value]


def with_checked_credits(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata whose credits, if there are any, were checked; raises ParameterError."""
    checked = dict(metadata)
    if checked.get(KEY) is not None:
        made = Credits.of(checked[KEY])
        entries = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
        entries["authors"] = [{k: v for k, v in dataclasses.asdict(a).items() if v is not None} for a in made.authors]
        checked[KEY] = {name: value for name, value in entries.items() if value not in (None, (), [])}
    return checked


def _set(record: Any, field: str, value: Any) -> None:
    object.__setattr__(record, field, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ParameterError(f"{name} is {value!r}; expected text")
    return value.strip()


def _optional(name: str, value: Any) -> str | None:
    return None if value is None else _text(name, value)


def _several(name: str, value: Any, kind: type) -> tuple[Any, ...]:
    """Return the items of a list; one item alone is a mistake that is easily made."""
    if isinstance(value, str | Mapping | kind) or not isinstance(value, Sequence):
        raise ParameterError(f"{name} are {value!r}; expected a list, e.g. [{value!r}]")
    return tuple(value)


def _from_entries[T](cls: type[T], what: str, entries: Any) -> T:
    known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if not isinstance(entries, Mapping) or not set(entries) <= set(known):
        unknown = sorted(set(entries) - set(known)) if isinstance(entries, Mapping) else entries
        raise ParameterError(f"{what}: {unknown!r} cannot be used; there are {', '.join(known)}")
    try:
        return cls(**entries)
    except TypeError as error:
        raise ParameterError(f"{what} cannot be {dict(entries)!r}: {error}") from error


def _checked_orcid(name: str, given: Any) -> str:
    """Return the sixteen digits of an ORCID iD whose last one is right (ISO 7064, 11-2)."""
    match = _ORCID.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None:
        raise ParameterError(f"the ORCID iD of {name} is {given!r}; expected one like '0000-0002-1825-0097'")
    orcid = match[1].upper()
    total = 0
    for digit in orcid.replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    if orcid[-1] != ("X" if check == 10 else str(check)):
        raise ParameterError(f"the ORCID iD of {name}, {orcid}, has a mistyped digit: its check digit does not fit")
    return orcid
