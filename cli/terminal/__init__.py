"""What the commands share: options, errors, progress and the store they open."""
