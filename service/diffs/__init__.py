"""What lies between two versions."""
