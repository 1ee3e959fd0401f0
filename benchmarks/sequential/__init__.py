"""A line of batches, each edited on what the ones before it left: which method keeps the earlier facts longest."""
