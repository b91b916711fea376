"""`make bench`: the comparison of `surfloss bench` with the peak memory, its picture, and the tables of it.

python -m benchmarks.compare
"""

import json

import torch

from benchmarks import checkout, memory, tables
from surfloss._files import write_text
from surfloss.bench.contestants import choose
from surfloss.bench.plot import draw
from surfloss.bench.result import Result
from surfloss.bench.run import compare
from surfloss.bench.workloads import full


def main() -> None:
    plan, contestants, threads = full(), choose(), torch.get_num_threads()

    def keep(result: Result) -> None:
        memory.weigh(result.rows[-1], plan[len(result.rows) - 1], contestants, threads)

    commit = checkout.commit()
    result = compare(plan, contestants, threads=threads, seconds=4, notice=print, keep=keep)
    result.commit = commit
    path = checkout.RESULTS / f"{result.machine.slug}.json"
    if result.interrupted:
        raise SystemExit(f"interrupted after {len(result.rows)} rows: nothing is written")
    write_text(path, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
    draw(result, path.with_suffix(".png"))
    tables.main()


if __name__ == "__main__":
    main()
