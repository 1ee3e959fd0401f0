"""The versioned weight-delta store: SQL rows, blobs, lineage and aliases. Knows no torch and no editing."""
