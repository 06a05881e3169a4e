"""The log on a job's page: parts of it as HTML, what a search found, and the requests for both."""
