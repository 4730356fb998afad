"""Personalised treatment plans, learned from logged care; vetoed by rules outside the model."""
