"""SageMaker's built-in algorithms, declared as data and shared by the client and the embedded service."""
