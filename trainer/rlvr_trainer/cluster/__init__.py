"""Jobs on a cluster, from outside: submit, list, watch, suspend, delete.  No part of a running job imports this."""
