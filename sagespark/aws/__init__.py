"""AWS as the package uses it: one module per resource, the same verbs on each. Needs boto3, and no pyspark."""
