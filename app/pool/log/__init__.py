"""The log of an attempt as it travels and is stored: agents write it, the web server stores it, the ledger reads it."""
