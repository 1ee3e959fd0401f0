"""The methods and their settings."""
