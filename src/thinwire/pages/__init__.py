"""`thinwire report`: one page of what was measured, from the files in which it was written down."""
