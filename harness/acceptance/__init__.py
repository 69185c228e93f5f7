"""A finished run as one file to send back: what was found, and the raw files it was found in."""
