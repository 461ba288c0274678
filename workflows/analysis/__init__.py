"""Surface physics as pure functions."""
