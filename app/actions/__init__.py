"""Actions: what people, agents and programs may do, whichever way they ask."""
