"""Telling receivers of webhooks what happened: where to, what, when, and when again."""
