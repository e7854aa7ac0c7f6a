"""Self-contained HTML pages, tables and figures."""
