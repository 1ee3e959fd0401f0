"""API keys: making, listing and revoking them, and what one's own may do."""
