"""The API: JSON views, described by OpenAPI. Docstrings of views and models are part of the document."""
