"""What is read off a version, fact by fact, before any metric is computed."""
