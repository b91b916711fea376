"""Fill the benchmark tables of README and docs from the JSON in `results/`: nobody types a number."""

from pathlib import Path

from surfloss._files import write_text
from surfloss.bench.report import filled

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "gpu.md")

if __name__ == "__main__":
    for document in DOCUMENTS:
        write_text(document, filled(document.read_text(encoding="utf-8"), RESULTS))
