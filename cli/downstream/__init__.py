"""Measuring a served version with another program, and keeping what came of it with the version."""
