"""Taking facts out of a version."""
