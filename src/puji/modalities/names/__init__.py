"""Drug names."""
