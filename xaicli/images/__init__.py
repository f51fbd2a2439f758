"""Photos: finding, decoding, the model's view of them and its inverse, pictures of maps."""
