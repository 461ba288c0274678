"""Whether a new model replaces the champion: readiness, challenger, gate, registration."""
