"""WinIT: the importance of frames, and of parts of them, by what the score loses when the latest are hidden."""
