"""The gate: suites, baselines, rules and checks."""
