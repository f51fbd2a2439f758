"""DAAM: attention accumulated block by block, and the vote of neighbours for networks without a head."""
