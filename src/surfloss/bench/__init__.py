"""The comparison behind `surfloss bench`.

`workloads` says what is measured, `contestants` who takes part, `adapters` how each is called.
`run` compares the answers and times them (`timing`) into a `result`, which `report` and `plot` show.
"""
