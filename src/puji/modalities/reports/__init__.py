"""Medical reports."""
