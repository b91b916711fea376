"""Tables as LaTeX and CSV, and templates that fill in for each other."""

import re
from pathlib import Path

import pytest

from surfloss._render import TextTable, csv_table, latex, latex_table, markdown, number, printable, render

TABLE = TextTable(
    "A & B", ("model", "n", "p < 0.05"), [("dice_ce", "3", "2 %"), ("a|b", "4", "± 1")], "Note #1", 1
)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("50 % & $1 of #2_{x}", r"50 \% \& \$1 of \#2\_\{x\}"),
        (r"C:\a~b^c", r"C:\textbackslash{}a\textasciitilde{}b\textasciicircum{}c"),
        ("1 ± 2 < 3", r"1 $\pm$ 2 $<$ 3"),
        ("“null”", "``null''"),
    ],
)
def test_latex_escapes_what_it_would_read(text: str, printed: str) -> None:
    assert latex(text) == printed


def test_a_latex_table_has_the_columns_of_its_head() -> None:
    text = latex_table(TABLE)
    assert r"\caption{A \& B. Note \#1}" in text
    assert r"\begin{tabular}{lrr}" in text
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [2, 2, 2]
    assert [text.count(rule) for rule in ("toprule", "midrule", "bottomrule")] == [1, 1, 1]
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_csv_says_null() -> None:
    assert csv_table(("a", "b"), [(None, "x,y")]) == 'a,b\r\nnull,"x,y"\r\n'


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-2+3", "'-2+3"),
        ("@x", "'@x"),
        ("\t=x", r"'\t=x"),
        ("\r=x", r"'\r=x"),
        ("\n=x", r"'\n=x"),
        ("a=b", "a=b"),
        ("-", "-"),
        ("-0.5", "-0.5"),
        ("+1e-05", "+1e-05"),
        ("-0.5 ± 0.1", "-0.5 ± 0.1"),
        ("caf\udce9", r"caf\xe9"),
        (-0.5, "-0.5"),
        (-3, "-3"),
    ],
)
def test_csv_neutralises_formulas_and_leaves_numbers(cell: object, written: str) -> None:
    assert csv_table(["x"], [[cell]]) == f"x\r\n{written}\r\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ± “ü” 漢", "plain ± “ü” 漢"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31m\x9b\x7f", r"\x1b[31m\x9b\x7f"),
        ("\udc80\udcff", r"\x80\xff"),
        ("\u202e\u2028", r"\u202e\u2028"),
        (Path("a"), "a"),
    ],
)
def test_printable_text_is_one_line_of_visible_signs(text: object, shown: str) -> None:
    assert printable(text) == shown


def test_markdown_reads_nothing_in_a_name() -> None:
    assert markdown("<b>`x`|y_z _e_ *f* [l](u) a\nb") == (r"\<b\>\`x\`\|y_z \_e\_ \*f\* \[l\](u) a\\nb")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (0, "0.0000"),
        (4.484e-08, "0.0000"),
        (-4.484e-08, "0.0000"),
        (0.83216, "0.8322"),
        (0.42, "0.4200"),
        (7.0, "7.000"),
        (12.3456, "12.35"),
        (100.0, "100.0"),
        (123456.7, "123457"),
        (-1.5, "-1.500"),
        (17, "17.00"),
    ],
)
def test_numbers_are_rounded_for_reading(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_spread_has_the_decimals_of_its_mean() -> None:
    assert [number(value, like=12.3) for value in (0.03561, 3, None)] == ["0.04", "3.00", "null"]


def test_a_template_may_come_from_the_root_and_markdown_keeps_its_columns() -> None:
    empty = TextTable("", (), ())
    content = {
        "targets": 1,
        "problems": empty,
        "kinds": "",
        "settings": empty,
        "summaries": [],
        "tables": [TABLE],
    }
    page = render("surfloss.cli", "evaluation.html.j2", **content, distributions=[], worst=[], outlines={})
    assert "<h2>A &amp; B</h2>" in page
    text = render("surfloss.cli", "evaluation.md.j2", **content)
    assert "| model | n | p \\< 0.05 |\n| --- | ---: | ---: |\n| dice_ce | 3 | 2 % |\n" in text
    assert r"| a\|b | 4 | ± 1 |" in text
