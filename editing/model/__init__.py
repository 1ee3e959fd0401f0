"""The opened model: loaded, recognised by its weights, and run layer by layer."""
