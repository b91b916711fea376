"""The `surfloss` command and its subcommands."""

import typer

from surfloss.cli.bench import bench
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
)
app.command()(info)
app.command()(bench)
app.command()(evaluate)
app.command()(phantom)
app.command()(reproduce)
