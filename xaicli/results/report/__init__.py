"""`xai report`: one self-contained page of a store's scores."""
