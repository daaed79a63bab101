"""`make campaign`: plans that disturb the operator on a real cluster, and one oracle for all."""
