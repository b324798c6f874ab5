"""Where tokens and money are counted."""
