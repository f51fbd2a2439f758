"""What the maps of many photos say together: of single photos that stand out, of groups of maps, of the model."""
