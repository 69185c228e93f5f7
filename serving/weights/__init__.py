"""Weights from any file into one form: Hugging Face names, Q and K rows in halves, one tensor at a time."""
