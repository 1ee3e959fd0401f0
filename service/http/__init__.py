"""HTTP itself: bodies and their limits, problems, cursors, conditions, streams and the OpenAPI document."""
