"""Methods side by side: what `ltcam compare` measures, and its page."""
