"""Measuring any version on given facts."""
