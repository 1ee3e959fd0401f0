"""Registering receivers of webhooks, and reading what became of their deliveries."""
