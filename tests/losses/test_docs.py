"""The examples of the guide run."""

import re
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"


@pytest.mark.filterwarnings("ignore:the gradient")
def test_examples_run_one_after_the_other() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
