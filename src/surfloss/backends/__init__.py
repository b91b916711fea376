"""The implementations of the operators. Each module has the functions that `_interface.py` specifies."""
