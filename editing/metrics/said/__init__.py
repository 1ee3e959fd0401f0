"""Metrics of what is said, free running and greedy, as a person would read it."""
