"""The API: JSON views, described by OpenAPI."""
