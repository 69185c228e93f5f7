"""One run from a ready server to a verdict."""
