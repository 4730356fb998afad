"""Drug molecules."""
