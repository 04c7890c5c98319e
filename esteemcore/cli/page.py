"""One self-contained HTML page of pictures and figures."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from esteemcore.cli.pictures import data_uri

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #191919; background: #fafafa; margin: 2rem auto; max-width: 1200px;
       padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
.row { display: flex; flex-wrap: wrap; gap: 14px; margin-bottom: 1.4rem; } figure { margin: 0; width: 220px; }
figure img { width: 100%; border: 1px solid #bbb; }
figcaption { font-size: 13px; } figcaption b { display: block; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: 3px 14px 3px 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid #999; white-space: normal; vertical-align: bottom; }
pre { background: #eee; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""


class Page:
    """Collects headings, text, rows of pictures and tables, top to bottom.

    Parameters
    ----------
    title : str
        Title of the page.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Add a heading."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def pictures(self, figures: Sequence[tuple[Image.Image, str, str]]) -> None:
        """Add a row of (picture, title, caption)."""
        row = "".join(
            f'<figure><img src="{data_uri(picture)}" alt="{html.escape(title)}"><figcaption><b>{html.escape(title)}</b>'
            f"{html.escape(caption)}</figcaption></figure>"
            for picture, title, caption in figures
        )
        self._parts.append(f'<div class="row">{row}</div>')

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table."""
        top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self._parts.append(f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>")

    def details(self, title: str, values: Mapping[str, Any]) -> None:
        """Add values that are shown on demand."""
        text = html.escape(json.dumps(values, indent=1, default=str))
        self._parts.append(f"<details><summary>{html.escape(title)}</summary><pre>{text}</pre></details>")

    def save(self, path: Path) -> Path:
        """Write the page and return where."""
        path.write_text(
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self._title)}</title>'
            f"<style>{STYLE}</style></head><body>{''.join(self._parts)}</body></html>\n",
            encoding="utf-8",
        )
        return path
