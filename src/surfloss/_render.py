"""Reports as text: Jinja templates, and tables as CSV and LaTeX."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class TextTable:
    """Cells as they are to be read; what a row is about stands in its first cell."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    text_columns: int = 1  # how many columns, from the first, are words rather than numbers


def render(package: str, template: str, **content: Any) -> str:
    """Fill a template of `package`'s folder `templates`; a name that is missing raises.

    A template may extend one of the root's folder `templates`. In HTML every text is escaped and `printable`.
    In Markdown the template asks for it with the filter `md`.
    """
    import jinja2

    def source(name: str) -> str | None:
        for home in (package, "surfloss"):
            file = resources.files(home) / "templates" / name
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return None

    html = template.endswith(".html.j2")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=html,
        finalize=_finished if html else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["md"] = markdown
    return environment.get_template(template).render(**content).rstrip() + "\n"


def printable(text: object) -> str:
    """Text on one line, with escapes as `\\n`, `\\x1b` and `\\xff` for all that has no visible sign.

    These are line breaks, control sequences, marks that turn the direction of writing, and the bytes of file
    names that are not UTF-8.
    """
    return "".join(sign if sign.isprintable() else _escaped(sign) for sign in str(text))


def _escaped(sign: str) -> str:
    byte = ord(sign) - 0xDC00  # Python reads a byte that is not UTF-8 as a sign from here on
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else sign.encode("unicode_escape").decode()


def _finished(value: object) -> object:
    """Of what a template prints: text from outside, but not the markup of another template."""
    return value if hasattr(value, "__html__") else printable(value)


def markdown(text: object) -> str:
    """Plain text as Markdown shows it, in a table too."""
    return re.sub(r"[\\`*<>|\[\]~&$]|(?<!\w)_|_(?!\w)", r"\\\g<0>", printable(text))


def number(value: float | None, like: float | None = None) -> str:
    """Four significant digits and at most four decimals, or as many as `like` has; "null" for None."""
    if value is None:
        return "null"
    size = abs(value if like is None else like)
    decimals = min(max(3 - math.floor(math.log10(size)), 0), 4) if size else 4
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # without the sign of -0.0


def cell(value: Any) -> str:
    """A value of any kind in a table for reading: `number` for floats, lists with spaces between."""
    if isinstance(value, float | None):
        return number(value)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def csv_table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """Lines of comma-separated values; None becomes "null".

    Text is `printable`, and gets an apostrophe in front where a spreadsheet would read it as a formula.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(map(_csv_cell, row) for row in (header, *rows))
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if not isinstance(value, str):
        return "null" if value is None else value
    return "'" * bool(_FORMULA.match(value)) + printable(value)


# A lone sign, a number and a number with its spread are none.
_FORMULA = re.compile(r"(?![+-]?[\d.]+(e[+-]?\d+)?( ± [\d.]+)?$)[=+\-@\t\r\n].", re.DOTALL)


def latex_table(table: TextTable) -> str:
    """A `table` with the rules of the package booktabs; every cell is escaped."""
    columns = "l" * table.text_columns + "r" * (len(table.header) - table.text_columns)
    lines = [" & ".join(map(latex, row)) + r" \\" for row in (table.header, *table.rows)]
    caption = f"{table.title}. {table.note}" if table.note else f"{table.title}."
    return "\n".join(
        [
            r"\begin{table}",
            rf"  \caption{{{latex(caption)}}}",
            r"  \centering",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def latex(text: str) -> str:
    """Plain text as LaTeX prints it."""
    return printable(text).translate(_LATEX)


_LATEX = str.maketrans(
    {sign: rf"\{sign}" for sign in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "±": r"$\pm$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        "\N{MINUS SIGN}": "$-$",
        "“": "``",
        "”": "''",
    }
)
