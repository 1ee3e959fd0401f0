"""Webhooks: receivers, the outbox of what happened, and what became of each delivery."""
