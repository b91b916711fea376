"""`make bench`: the comparison of `surfloss bench` with peak memory, its picture and its tables.

python -m benchmarks.compare
"""

import json

import torch

from benchmarks import checkout, memory, passes, tables
from benchmarks.picture import draw
from benchmarks.plans import full
from benchmarks.published import Machine, Published
from surfloss._files import write_text
from surfloss.bench import losses
from surfloss.bench.contestants import choose
from surfloss.bench.result import Result
from surfloss.bench.run import compare
from surfloss.ops._select import instruction_sets

SECONDS = 4.0  # of timing per row


def main() -> None:
    threads = torch.get_num_threads()
    # "cpu" is the widest instruction set of this machine; the others follow.
    others = [f"cpu:{isa}" for isa in reversed(instruction_sets()[:-1])]
    plan, contestants = full(), choose(backends=["cpu", *others])

    def keep(result: Result) -> None:
        memory.weigh(result.rows[-1], plan[len(result.rows) - 1], contestants, threads)

    machine, commit = Machine.with_facts(), checkout.commit()
    measured = compare(plan, contestants, threads=threads, seconds=SECONDS, notice=print, keep=keep)
    if measured.interrupted:
        raise SystemExit(f"interrupted after {len(measured.rows)} rows: nothing is written")
    result = Published.of(measured, machine, commit)
    path = checkout.RESULTS / f"{machine.slug}.json"
    write_text(path, json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n")
    draw(result, path.with_suffix(".png"))
    costs = losses.measure(
        losses.BATCHES, threads=threads, seconds=SECONDS * len(losses.LOSSES), notice=print
    )
    write_text(checkout.RESULTS / f"losses-{machine.slug}.json", json.dumps(costs.to_dict(), indent=1) + "\n")
    sets = tuple(reversed(instruction_sets()))
    write_text(
        checkout.RESULTS / f"passes-{machine.slug}.json",
        json.dumps(passes.measure(passes.SIZES, sets)) + "\n",
    )
    tables.main()


if __name__ == "__main__":
    main()
