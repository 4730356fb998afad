"""Medical images as sequences of patch codes."""
