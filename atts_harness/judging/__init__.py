"""The model that extracts or judges answers, behind an endpoint."""
