"""Consolidations: a version's facts in force as one batch on the base, from what their values were optimised for."""
