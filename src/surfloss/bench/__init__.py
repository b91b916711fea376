"""The comparison behind `surfloss bench`.

`masks` and `workloads` say what is measured, `contestants` who takes part, `adapters` how each is called.
`run` compares the answers and times them (`timing`) into a `result`, which `report` and `plot` show.
"""
