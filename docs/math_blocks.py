"""Extension of griffe, for mkdocs: formulas and numbered references of docstrings as Markdown shows them."""

import re
import textwrap

import griffe

FORMULA = re.compile(r"^( *)\.\. math::(.*(?:\n(?: *\n)*\1 +.*)*)", re.MULTILINE)
NUMBERED = re.compile(r"^( *)\.\. (\[\d+\])", re.MULTILINE)


def formula(match: re.Match[str]) -> str:
    """Return a directive as a block of code, which every reader shows without a network."""
    first, _, rest = match[2].partition("\n")
    text = "\n".join(part for part in (first.strip(), textwrap.dedent(rest).strip("\n")) if part.strip())
    return textwrap.indent(f"```text\n{text}\n```", match[1])


class MathBlocks(griffe.Extension):
    """Rewrites each docstring when its object has been read."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Replace the directives that Markdown does not know."""
        if obj.docstring is not None:
            obj.docstring.value = NUMBERED.sub(r"\1\2", FORMULA.sub(formula, obj.docstring.value)).replace("]_", "]")
