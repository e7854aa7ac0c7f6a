"""Data sets: reading folder layouts, splitting by group, duplicates, checks, fingerprints."""
