"""The Python examples of README and documents run, page by page."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    page: blocks
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if (blocks := re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL))
}


def test_there_are_examples() -> None:
    assert {"README.md", "evaluation.md", "losses.md", "metrics.md", "phantom.md"} <= {
        page.name for page in EXAMPLES
    }


@pytest.mark.filterwarnings("ignore:the gradient")
@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_run_one_after_the_other(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in EXAMPLES[page]:
        exec(block, names)
