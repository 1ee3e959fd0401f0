"""What checks decide, and what that takes."""
