"""The C0 statistics of the worker's model: made, kept and shared."""
