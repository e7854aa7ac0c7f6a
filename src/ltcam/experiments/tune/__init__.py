"""Which percentile: what `ltcam tune` measures, its rules, and its page."""
