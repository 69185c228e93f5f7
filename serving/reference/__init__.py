"""Logits by an independent path, to hold the served ones against."""
