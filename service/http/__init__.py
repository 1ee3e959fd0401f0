"""HTTP itself: bodies and their limits, problems, cursors, conditions and streams."""
