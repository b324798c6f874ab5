"""Wire formats, pure: bytes to and from the neutral types of `turnout.chat`."""
