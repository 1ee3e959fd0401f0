# Made by client/unasync.py from __init__.py of _async: change that one, and run it.
"""The blocking client."""
