"""HTTP: what every view needs, whether it answers with JSON or with a page."""
