"""The networks that ship with the package: compact, for photos of 64 x 64 pixels. Their weights lie beside this file."""
