"""Add the pictures of `benchmarks/results` to the site."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add each picture under the path by which pages link to it, so that links work on GitHub too."""
    for picture in sorted(RESULTS.glob("*.png")):
        path = f"../benchmarks/results/{picture.name}"
        file = File.generated(config, path, abs_src_path=str(picture), inclusion=InclusionLevel.INCLUDED)
        file.dest_uri = f"pictures/{picture.name}"
        files.append(file)
    return files
