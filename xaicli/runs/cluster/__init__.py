"""Past one machine: photos are handed to Ray Data, and rows come back."""
