"""A worker process: its start, its RQ worker, its probes and its machine."""
