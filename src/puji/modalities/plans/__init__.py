"""Personalised treatment plans, learned from logged care, proposed to a clinician within rules that the model cannot reach."""
