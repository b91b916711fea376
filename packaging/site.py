"""A hook of MkDocs: pages of the site whose text is a file in the root of the repository."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}
LINKS = {
    "](docs/": "](",
    "](CHANGELOG.md)": "](changelog.md)",
    "[Apache License 2.0](LICENSE)": "Apache License 2.0",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    if (file := PAGES.get(page.file.src_uri)) is None:
        return markdown
    text = (ROOT / file).read_text(encoding="utf-8")
    for link, fitting in LINKS.items():
        text = text.replace(link, fitting)
    return text
