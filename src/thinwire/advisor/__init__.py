"""What a step will cost, before it is run: facts in, predictions out; nothing here communicates."""
