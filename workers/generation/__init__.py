"""Answering prompts on any version of the loaded model."""
