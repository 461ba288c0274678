"""Commands that are not yet in files of their own."""
