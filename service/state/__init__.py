"""What one process of the API keeps for all of its requests: caches, and readers that many wait for."""
