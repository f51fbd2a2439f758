"""BEE: path integrals from baselines that are drawn from a mixture, which is fitted to a metric."""
