"""Where bulk structures come from: one Source protocol, several implementations."""
