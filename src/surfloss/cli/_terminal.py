"""What commands share: text that shows as it is, their end on bad input, and their progress bars."""

import importlib.util
import math
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from rich import console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from surfloss._check import fail
from surfloss._files import check_writable
from surfloss._render import printable

Number = TypeVar("Number", int, float)

_PICTURES = (".png", ".svg", ".pdf")


class Console(console.Console):
    """Rich's, for text from outside: it reads no markup in it and lets no control sequence through."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


@contextmanager
def exit_on_bad_input() -> Iterator[None]:
    """Turn the library's errors about arguments and files into the command's end."""
    try:
        yield
    except (ValueError, OSError) as error:
        stop(str(error))


def check_packages(what: str, *packages: str, extra: str) -> None:
    """End the command unless the packages are installed, as they are with one of surfloss's extras."""
    missing = " and no ".join(name for name in packages if importlib.util.find_spec(name) is None)
    if missing:
        stop(f"{what}: got no {missing}, wanted it installed: pip install 'surfloss[{extra}]'")


def check_picture(option: str, path: Path | None, extra: str) -> None:
    """Check that a picture that is asked for can be drawn: by matplotlib, in a format of its own.

    Raises:
        ValueError: if the ending is another.
    """
    if path is not None:
        check_packages(option, "matplotlib", extra=extra)
        if path.suffix.lower() not in _PICTURES:
            fail(option, path, f"a file ending in {', '.join(_PICTURES)}")


def check_outputs(*outputs: Path | None, inputs: Iterable[Path] = ()) -> None:
    """Check before the work starts that each output can be written, over no input and no other output.

    Links are followed. Several outputs may go to one device or pipe. The file of voxels that a volume's
    header names is an input too. None is an output that was not asked for.

    Raises:
        ValueError: naming the path.
    """
    from surfloss._volumes import sources

    taken = {}
    for source in inputs:
        read = [source]
        with suppress(ValueError, OSError):  # that it cannot be read is said later
            read += sources(source)
        taken.update(dict.fromkeys(map(os.path.realpath, read), "a file that is read"))
    for path in outputs:
        if path is None:
            continue
        check_writable(path)
        file = os.path.realpath(path)
        if file in taken:
            fail(str(path), taken[file], "a file of its own")
        if path.is_file() or not path.exists():
            taken[file] = "the file of another output"


def progress_bars() -> Progress:
    """Bars on stderr, so that a command's output can be piped."""
    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def say(line: str) -> None:
    """Print one line on stderr."""
    typer.echo(printable(line), err=True)


def stop(message: str) -> NoReturn:
    """End the command for a reason that lies in its input."""
    say(f"Error: {message}")
    raise typer.Exit(2)


def three_numbers(option: str, text: str, kind: type[Number]) -> tuple[Number, ...]:
    """The numbers z,y,x above 0 that a text holds, with commas or x between.

    Raises:
        ValueError: naming the option.
    """
    try:
        numbers = tuple(kind(part) for part in re.split("[,x]", text))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < math.inf for number in numbers):
        noun = "whole numbers" if kind is int else "numbers"
        fail(option, repr(text), f"three {noun} z,y,x above 0 with commas between")
    return numbers
