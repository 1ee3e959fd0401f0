"""Processes that `emmetd serve` starts and keeps running."""
