"""The command line of framehook: parses, calls, prints."""
