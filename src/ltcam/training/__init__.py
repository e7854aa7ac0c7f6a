"""From image labels to a trained classifier."""
