"""The log of an attempt, on its way from a program's output to the web server: no job waits for another one's log."""
