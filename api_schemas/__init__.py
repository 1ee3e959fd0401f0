"""The vocabulary of the HTTP API, shared by every other package. Imports nothing of ours and no torch."""
