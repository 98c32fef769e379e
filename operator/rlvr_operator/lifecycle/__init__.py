"""One step of a job's life per file: each looks at the facts and answers with an intent, or None.  Pure."""
