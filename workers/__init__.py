"""Processes that hold a model: edit tasks from RQ, versions materialised in place, and the generation engine."""
