"""The command line `rlvr`: validate, explain and run a manifest."""
