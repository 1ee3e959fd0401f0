"""Models, versions, aliases, and the facts that a lineage holds."""
