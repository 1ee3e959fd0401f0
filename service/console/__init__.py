"""The web console: pages that are built from `console/` and committed here, and the routes that serve them."""
