"""What the planner is told: results, checks, and whether a run gets anywhere."""
