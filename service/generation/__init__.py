"""What completions and chat have in common: pinning a version, asking a worker, passing on what it says."""
