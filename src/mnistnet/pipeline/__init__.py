"""One function for each thing that a user can ask for; they alone walk through several rooms."""
