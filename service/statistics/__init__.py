"""C0 statistics, made ahead of time."""
