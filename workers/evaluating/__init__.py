"""Measuring versions on facts, in portions between which other work of the model gets its turn."""
