"""The kinds of medical record that Puji knows. Each comes in by its entry point, as others' modalities do."""
