"""The figures of the paper: maps made once per image, drawn, and written as PNG and SVG."""
