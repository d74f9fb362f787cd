"""`thinwire solve`: from a file to a certified optimum, by one method or by several side by side."""
