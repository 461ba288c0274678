"""Campaign files, their settings and the flow of a campaign."""
