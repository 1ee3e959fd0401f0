"""An evaluation as a page to read: charts, measurements, the worst facts and what was said instead."""
