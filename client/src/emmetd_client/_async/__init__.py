"""The client for asyncio. `client/unasync.py` makes its blocking twin `_sync` of it."""
