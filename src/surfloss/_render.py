"""Reports as text: Jinja templates, and tables as CSV and LaTeX."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Table:
    """Cells as they are to be read; what a row is about stands in its first cell."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    text_columns: int = 1  # how many columns, from the first, are words rather than numbers


def render(package: str, template: str, **content: Any) -> str:
    """Fill a template of `package`'s folder `templates`; HTML is escaped, and a name that is missing raises.

    A template may extend one of the root's folder `templates`. It has the filter `number`: four digits, and
    "null" for None.
    """
    import jinja2

    def source(name: str) -> str | None:
        for home in (package, "surfloss"):
            file = resources.files(home) / "templates" / name
            if file.is_file():
                return file.read_text(encoding="utf-8")
        return None

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(template).render(**content)


def number(value: float | None) -> str:
    """Four significant digits; "null" for None."""
    return "null" if value is None else f"{value:.4g}"


def csv_table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """Lines of comma-separated values; None becomes "null"."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(["null" if value is None else value for value in row] for row in rows)
    return text.getvalue()


def latex_table(table: Table) -> str:
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
    return text.translate(_LATEX)


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
