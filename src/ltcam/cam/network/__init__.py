"""What looks into a network: runs it, finds its stages, and leaves it as it was."""
