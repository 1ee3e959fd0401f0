"""Content-addressed blobs in a folder or an object store, and how deltas lie in them."""
