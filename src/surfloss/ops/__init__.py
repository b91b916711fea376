"""The registered operators, and the choice of the backend that answers them."""
