"""Type-1 diabetes: virtual patients, what they wear and eat, who doses their insulin, and how well that went."""
