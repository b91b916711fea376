"""The implementations of the operators: the same few functions in each module, with the same signatures."""
