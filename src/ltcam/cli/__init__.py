"""The command line: one file per command, which only parses, calls and prints."""
