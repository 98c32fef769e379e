"""The Kubernetes operator of RLVRJobs."""
