"""How things are computed: devices and precision, taps on layers, masked forward passes, seeds."""
