"""New weights from the learner's memory into its rollouts', beside the folder that is always published."""
