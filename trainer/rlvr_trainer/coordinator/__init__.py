"""The only role that asks: prompt, rollouts, judge, admission, step batch."""
