"""Items on several processes: one that ends its process is lost, and no other."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from surfloss.metrics._workers import each


def work(item: int) -> int:
    if item < 0:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does where memory runs short
    return item * item


@pytest.mark.timeout(200)
def test_an_item_that_ends_its_process_is_lost_alone() -> None:
    items = dict(enumerate([1, -2, 3]))
    assert dict(each(work, items, 2, lambda item: 1000 + item)) == {0: 1, 1: 998, 2: 9}


def test_one_worker_is_this_process() -> None:
    assert list(each(lambda item: os.getpid(), {7: 0, 8: 0}, 1, int)) == [(7, os.getpid()), (8, os.getpid())]


@pytest.mark.timeout(200)
def test_a_script_without_its_guard_is_told(tmp_path: Path) -> None:
    """Each process that it starts begins with the script, and may start none."""
    script = tmp_path / "script.py"
    script.write_text(
        "from surfloss.metrics._workers import each\nlist(each(abs, {0: 1, 1: 2}, 2, lambda item: 0))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: workers: got processes that end at once, wanted some that start")
