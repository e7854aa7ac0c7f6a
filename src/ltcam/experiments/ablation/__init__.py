"""The choices that the paper leaves open, each varied alone: what `ltcam questions` measures, and its page."""
