"""What all agree on: words, keys and messages. Standard library and redis only; agents carry it too."""
