"""`rlvr run`: the roles of a cluster as processes of one machine."""
