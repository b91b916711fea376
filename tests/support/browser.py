"""Opens a page in a headless browser: what it loaded, its errors, and the result of a script."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome")

_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=5000 --enable-logging=stderr --v=0 "
    "--dump-dom"
)
_LISTEN = """<script>
  const complaints = [];
  const failed = event => complaints.push(event.message || `not loaded: ${event.target.src}`);
  addEventListener("error", failed, true);
  addEventListener("securitypolicyviolation", event => complaints.push(`forbidden: ${event.blockedURI}`));
</script>"""
_ANSWER = """<script>
  addEventListener("load", () => {
    const answer = document.createElement("pre");
    answer.id = "answer";
    const names = performance.getEntriesByType("resource").map(entry => entry.name);
    answer.textContent = JSON.stringify({
      complaints,
      requests: names.filter(name => !name.startsWith("data:")),
      widths: [...document.images].map(image => image.naturalWidth),
      broken_links: [...document.querySelectorAll('a[href^="#"]')].map(link => link.hash)
        .filter(hash => !document.getElementById(hash.slice(1))),
      found: (() => { %s })(),
    }).replace(/[<>&]/g, "?");
    document.body.append(answer);
  });
</script>"""


@dataclass(frozen=True)
class Visit:
    """What happened on a page."""

    complaints: list[str]  # script errors, failed loads, and violations of the page's security policy
    console: list[str]  # lines of the browser's console
    requests: list[str]  # addresses other than data URLs
    widths: list[int]  # of the pictures, in pixels; 0 for a picture that could not be shown
    broken_links: list[str]  # links within the page
    found: Any  # the return value of the script


def visit(page: str, folder: Path, script: str = "return null") -> Visit:
    """Open an HTML page from a file in the empty `folder`, and run `script`, a function body, in it."""
    assert BROWSER is not None
    assert "</head>" in page
    assert "</body>" in page
    watched = page.replace("<head>", f"<head>{_LISTEN}").replace("</body>", f"{_ANSWER % script}</body>")
    file = folder / "page.html"
    file.write_text(watched, encoding="utf-8")
    command = [BROWSER, *_OPTIONS.split(), f"--user-data-dir={folder / 'profile'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    answer = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert answer, done.stderr[-2000:]
    console = re.findall(r'CONSOLE.*?\] (".*)', done.stderr)
    return Visit(**json.loads(answer[1]), console=console)


def assert_sound(seen: Visit) -> None:
    """The page shows all its pictures, loads nothing and has no errors."""
    assert (seen.complaints, seen.console, seen.requests, seen.broken_links) == ([], [], [], [])
    assert all(width > 0 for width in seen.widths)
