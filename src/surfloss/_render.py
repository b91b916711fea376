"""Reports as text: Jinja templates of this package, and tables as CSV."""

import csv
import io
from collections.abc import Iterable
from importlib import resources
from typing import Any


def render(package: str, template: str, **content: Any) -> str:
    """Fill a template of `package`'s folder `templates`; HTML is escaped, and a name that is missing raises.

    A template has the filter `number`: four digits, and "null" for None.
    """
    import jinja2

    source = resources.files(package) / "templates" / template
    environment = jinja2.Environment(
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.from_string(source.read_text(encoding="utf-8")).render(**content)


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
