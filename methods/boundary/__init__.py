"""The decision boundary: projections on it in feature space, in the space of photos, and through an invertible network."""
