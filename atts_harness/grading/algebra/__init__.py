"""Values of formulas, sets of real numbers, computer algebra."""
