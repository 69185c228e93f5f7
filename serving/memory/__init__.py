"""What a model and its cache take of memory, reckoned before anything is loaded."""
