"""U-CAM: maps of what makes a network certain."""
