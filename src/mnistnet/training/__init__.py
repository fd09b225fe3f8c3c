"""Training: a recipe says what to do, the loop does it, trials do it n times."""
