"""Experiments: programs made of the other rooms, that measure instead of inspect."""
