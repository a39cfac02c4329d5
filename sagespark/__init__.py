"""Amazon SageMaker from Spark."""
