"""What to write: subjects' keys and states, the texts before prompts, and the optimisation of each value."""
