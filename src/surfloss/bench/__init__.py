"""The comparison behind `surfloss bench`: cases, contestants, the gate before the clock, and the report.

`cases` makes the masks, `peers` holds one adapter a library, `race` times, `memory` weighs, `accelerator`
knows what a GPU takes beside, `run` puts them together into one JSON-ready dictionary, `report` and `plot`
show it, `budgets` judges it.
"""
