"""What is there: links, processors and gradients, measured where they are, for whoever advises."""
