"""Versions that engines elsewhere serve, and that follow an alias there."""
