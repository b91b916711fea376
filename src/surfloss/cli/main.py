"""The `surfloss` command and its subcommands."""

from importlib.metadata import version
from typing import Annotated

import typer

from surfloss.cli.bench import bench
from surfloss.cli.compare import compare
from surfloss.cli.evaluate import evaluate
from surfloss.cli.info import info
from surfloss.cli.phantom import phantom
from surfloss.cli.reproduce import reproduce

app = typer.Typer(
    name="surfloss",
    help="Surface losses, exact distance transforms and surface metrics for 3-D segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"surfloss {version('surfloss')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(info)
app.command()(bench)
app.command()(evaluate)
app.command()(phantom)
app.command()(reproduce)
app.command()(compare)
