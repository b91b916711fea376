"""What commands share: their end on bad input (one line on stderr, exit code 2) and their progress bars."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def exit_on_bad_input() -> Iterator[None]:
    """Turn the library's errors about arguments and files into the command's end."""
    try:
        yield
    except (ValueError, OSError) as error:
        stop(str(error))


def progress_bars() -> Progress:
    """Bars on stderr, so that a command's output can be piped."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


def stop(message: str) -> NoReturn:
    """End the command for a reason that lies in its input."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)
