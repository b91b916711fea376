"""The smallest run in a process of its own, for a test that kills it; the argument is its folder."""

import sys
from pathlib import Path

from surfloss.nnunet.run import Run
from surfloss.nnunet.stages import run_stages
from tests.nnunet.conftest import MINI

if __name__ == "__main__":
    # Inside a job, sys.stdout is the log.
    out = sys.stdout
    run_stages(Run(Path(sys.argv[1]), MINI), lambda job, _, done: print(job, done, file=out, flush=True))
