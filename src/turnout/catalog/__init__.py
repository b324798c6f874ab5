"""Models, what they can do and what they cost: data and pure look-ups."""
