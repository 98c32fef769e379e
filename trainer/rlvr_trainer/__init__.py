"""The trainer of RLVRJobs: coordinator, learner, rollout and reward."""
