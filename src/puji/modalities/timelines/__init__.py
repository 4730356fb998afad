"""Patient timelines: see modality.py."""
