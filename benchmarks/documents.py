"""Markdown blocks that scripts fill, so that no number is typed by hand."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from surfloss._files import write_text


def filled(document: str, kind: str, content: Callable[[str], str]) -> str:
    """Replace the content of each block `<!-- KIND: WORDS --> ... <!-- end -->` by `content(WORDS)`.

    If the content is empty, so is the block. Blocks of other kinds are unchanged.
    """

    def block(found: re.Match[str]) -> str:
        text = content(found[2]).strip("\n")
        return f"{found[1]}\n{text}\n\n{found[3]}" if text else found[1] + found[3]

    return re.sub(rf"(<!-- {kind}: (.+?) -->\n).*?(<!-- end -->)", block, document, flags=re.DOTALL)


def fill(path: Path, kind: str, content: Callable[[str], str]) -> None:
    """Fill the blocks of one kind in a file."""
    write_text(path, filled(path.read_text(encoding="utf-8"), kind, content))


def table(head: Sequence[str], body: Iterable[Sequence[str]], texts: int = 2) -> str:
    """Return a Markdown table. The first `texts` columns are text, the others right-aligned numbers."""
    lines = [head, ["---"] * texts + ["---:"] * (len(head) - texts), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
