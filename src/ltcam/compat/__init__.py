"""Other packages' names and calls over ltcam's engine."""
