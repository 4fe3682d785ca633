"""Any server with OpenAI's completions route as a backend, as far as it tells what is needed."""
