"""What is queued: batches, evaluations, statistics and exports, their tasks, and the lines in which they run."""
