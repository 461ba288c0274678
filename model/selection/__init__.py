"""What to compute next: acquisition, and its simulation on known labels."""
