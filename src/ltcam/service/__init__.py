"""The inspection service: verdicts over HTTP, a history that can be proven, reviews, the studio."""
