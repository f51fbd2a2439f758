"""Feature CAM: class maps times the edges of the photo, by Sobel's filter or by a trained network."""
