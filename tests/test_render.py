"""Tables as LaTeX and CSV, and templates that fill in for each other."""

import re

import pytest

from surfloss._render import Table, csv_table, latex, latex_table, render

TABLE = Table(
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


def test_a_template_may_come_from_the_root_and_markdown_keeps_its_columns() -> None:
    content = {"targets": 1, "prediction_dir": "<p>", "target_dir": "t", "tables": [TABLE]}
    page = render("surfloss.cli", "evaluation.html.j2", **content)
    assert "<h2>A &amp; B</h2>" in page
    assert "&lt;p&gt;" in page
    text = render("surfloss.cli", "evaluation.md.j2", **content)
    assert "| model | n | p < 0.05 |\n| --- | ---: | ---: |\n| dice_ce | 3 | 2 % |\n" in text
    assert r"| a\|b | 4 | ± 1 |" in text
    assert "`<p>`" in text
