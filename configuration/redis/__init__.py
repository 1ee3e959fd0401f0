"""The connection to Redis, every name in it, and the messages that travel there."""
