"""Versions as files for other programs: a format per file, all named in `formats.py`."""
