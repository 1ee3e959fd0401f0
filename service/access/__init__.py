"""Who asks, what that key may do, and how much of it."""
