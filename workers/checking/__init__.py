"""What a check measures and what it holds that against: earlier facts, drift, thresholds, budgets, and wear."""
