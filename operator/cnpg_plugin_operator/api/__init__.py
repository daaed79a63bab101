"""What users see of the resource: spec, status, conditions and their reasons. Pure."""
