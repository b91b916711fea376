"""The study of what makes surface losses train: data, network, one run, the plan of runs, its summary."""
