"""Starts, watches and ends the serving processes, and what each of them needs for that."""
