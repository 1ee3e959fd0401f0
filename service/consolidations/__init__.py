"""Solving a version's facts in force anew, as one batch on the base."""
