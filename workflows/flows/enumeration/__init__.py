"""Lists of compounds of many sources, frozen in lock files, and their cost."""
