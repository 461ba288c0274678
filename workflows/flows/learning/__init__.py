"""Candidates of a campaign and what is suggested of them."""
