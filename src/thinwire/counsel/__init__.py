"""What `thinwire advise` says: the advisor's figures in words, at the command line."""
