"""The tasks of an edit batch and of what else is queued, a file each."""
