"""Retention, garbage collection, integrity, backup, and carrying versions between stores."""
