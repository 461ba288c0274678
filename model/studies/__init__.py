"""Studies of transfer between data sets: trainings, their order, cost and results."""
