"""The implementations of the operators: in each module the functions that `_interface.py` describes."""
