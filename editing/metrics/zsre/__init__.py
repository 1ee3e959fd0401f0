"""zsRE's metrics: token accuracy under teacher forcing (arXiv 2110.11309, section 5; 2210.07229, section 5.2.1)."""
