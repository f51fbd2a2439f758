"""Looking into a torch module and altering it, always reversibly: layers, taps, attention, twins."""
