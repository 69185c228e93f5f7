"""Many variants of one run: what was planned, what became of each, what they show together. It starts no run."""
