"""`browser.assert_sound` detects the faults of a page."""

from pathlib import Path

import pytest

from tests.support.browser import assert_sound, needs_browser, visit

PAGE = "<!doctype html><html><head>{}</head><body>{}</body></html>"
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw=="


@needs_browser
@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("", '<img src="data:image/png;base64,AAAA">'),
        ("", '<img src="http://127.0.0.1:9/picture.png">'),
        ("", "<script>missing()</script>"),
        ("", "<script>console.error('said')</script>"),
        ("", '<a href="#nowhere">there</a>'),
        (
            '<meta http-equiv="Content-Security-Policy" content="img-src data:">',
            '<img src="http://127.0.0.1:9/picture.png">',
        ),
    ],
    ids=["broken picture", "request", "error", "console", "link", "forbidden"],
)
def test_a_fault_is_noticed(head: str, body: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        assert_sound(visit(PAGE.format(head, body), tmp_path))


@needs_browser
def test_a_sound_page(tmp_path: Path) -> None:
    seen = visit(PAGE.format("", f'<img src="{DOT}">'), tmp_path, "return document.images.length")
    assert_sound(seen)
    assert (seen.widths, seen.found) == ([1], 1)
